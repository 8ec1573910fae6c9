/*
 * entry.S - the ways in: 64-bit entry, PVH entry, application processors, interrupts.
 *
 * Where the software KVM interprets ring 0, every instruction here costs about a microsecond: page
 * tables and GDT are therefore data made by the assembler, not code. The first instructions send a
 * newline to COM1: the time from exec to this byte is the start-up time of the machine.
 */
#include "image.h"

#define CR0_LONG  0x80050033 /* PG AM WP NE ET MP PE */
#define CR4_LONG  0x20       /* PAE */
#define MSR_EFER  0xc0000080
#define EFER_LME  0x100

	.section .text.entry, "ax"
	.code64
	.globl entry64
entry64:                         /* RSI = struct boot_params, interrupts off */
	mov	$COM1, %edx
	mov	$'\n', %al
	out	%al, (%dx)
	mov	%rsi, %rdi
	xor	%esi, %esi
	lgdt	gdt_pointer
	mov	$pml4, %eax
	mov	%rax, %cr3
	jmp	start_common

	.code32
	.globl entry_pvh
entry_pvh:                       /* EBX = struct hvm_start_info, flat 32-bit, paging off */
	mov	$COM1, %edx
	mov	$'\n', %al
	out	%al, (%dx)
	lgdt	gdt_pointer
	mov	$CR4_LONG, %eax
	mov	%eax, %cr4
	mov	$pml4, %eax
	mov	%eax, %cr3
	mov	$MSR_EFER, %ecx
	mov	$EFER_LME, %eax
	xor	%edx, %edx
	wrmsr
	mov	$CR0_LONG, %eax
	mov	%eax, %cr0
	ljmp	$SEL_CODE64, $1f
	.code64
1:	xor	%edi, %edi
	mov	%ebx, %esi

start_common:                    /* RDI = boot_params or 0, RSI = start_info or 0 */
	mov	$(boot_stack + STACK_BYTES), %esp
	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	push	$SEL_CODE64
	push	$1f
	lretq
1:	xor	%ebp, %ebp
	call	guest_main
	ud2

/* Application processors: copied to AP_TRAMPOLINE, entered there in real mode by SIPI. */
	.code16
	.globl ap_trampoline, ap_trampoline_end
ap_trampoline:
	cli
	xor	%ax, %ax
	mov	%ax, %ds
	lgdtl	AP_TRAMPOLINE + (ap_gdt_pointer - ap_trampoline)
	mov	$CR4_LONG, %eax
	mov	%eax, %cr4
	mov	AP_TRAMPOLINE + (ap_cr3 - ap_trampoline), %eax
	mov	%eax, %cr3
	mov	$MSR_EFER, %ecx
	mov	$EFER_LME, %eax
	xor	%edx, %edx
	wrmsr
	mov	$CR0_LONG, %eax
	mov	%eax, %cr0
	ljmpl	$SEL_CODE64, $ap_entry64
	.balign	8
ap_gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt
ap_cr3:
	.long	pml4
ap_trampoline_end:

	.code64
ap_entry64:
	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	$(ap_stack + STACK_BYTES), %esp
	xor	%ebp, %ebp
	call	ap_main
	ud2

/*
 * Interrupt and exception stubs, 16 bytes each: vector and, where the processor pushes none, a zero
 * in place of the error code.
 */
#define HAS_ERROR(v) ((v) == 8 || ((v) >= 10 && (v) <= 14) || (v) == 17 || (v) == 21)
	.text
	.balign	16
	.globl trap_stubs
trap_stubs:
	.set	vec, 0
	.rept	256
	.balign	16
	.if	!(vec == 8 || (vec >= 10 && vec <= 14) || vec == 17 || vec == 21)
	push	$0
	.endif
	push	$vec
	jmp	trap_common
	.set	vec, vec + 1
	.endr

trap_common:                     /* struct trap_frame, see trap.h */
	push	%rax
	push	%rcx
	push	%rdx
	push	%rbx
	push	%rbp
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, %rdi
	mov	%rsp, %rbx
	and	$-16, %rsp
	cld
	call	trap_dispatch
	mov	%rbx, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rbp
	pop	%rbx
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$16, %rsp
	iretq

/* PVH: XEN_ELFNOTE_PHYS32_ENTRY. */
	.section .note.Xen, "a", @note
	.balign	4
	.long	4, 4, 18
	.asciz	"Xen"
	.long	entry_pvh

	.section .data.tables, "aw"
	.balign	4096
	.globl pml4, pdpt
#define PT_LINK 0x07             /* present, writable, user: native mode wants US at every level */
#define PT_BIG  0xe7             /* the same, accessed, dirty, 2 MiB */
pml4:
	.quad	pdpt + PT_LINK
	.fill	511, 8, 0
pdpt:
	.quad	pd_first + PT_LINK, 0, 0, pd_fourth + PT_LINK
	.fill	508, 8, 0
pd_first:                        /* RAM up to 1 GiB, this image and its heap among it */
	.set	page, 0
	.rept	512
	.quad	page + PT_BIG
	.set	page, page + 0x200000
	.endr
pd_fourth:                       /* device memory from 3 GiB; anything else by mem_map() */
	.set	page, 0xc0000000
	.rept	512
	.quad	page + PT_BIG
	.set	page, page + 0x200000
	.endr

	.balign	8
gdt:
	.quad	0, 0
	.quad	0x00af9b000000ffff       /* SEL_CODE64 */
	.quad	0x00cf93000000ffff       /* SEL_DATA */
gdt_end:
	.word	0
gdt_pointer:
	.word	gdt_end - gdt - 1
	.quad	gdt

	.section .bss.stacks, "aw", @nobits /* guest.lds aligns it to STACK_BYTES */
	.globl boot_stack, ap_stack
boot_stack:
	.skip	STACK_BYTES
ap_stack:
	.skip	STACK_BYTES

	.section .note.GNU-stack, "", @progbits
