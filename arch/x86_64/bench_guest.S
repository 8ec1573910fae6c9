/* bench_guest.S - the built-in guest as a part of the program, for `vmm bench`. */
	.section .rodata
	.balign	16
	.globl	machine_bench_guest, machine_bench_guest_end
machine_bench_guest:
	.incbin	BENCH_GUEST
machine_bench_guest_end:
	.section .note.GNU-stack, "", @progbits
