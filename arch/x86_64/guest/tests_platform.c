/*
 * tests_platform.c - what is on the board: memory map, tables, clocks, timers, ports, processors.
 */
#include "acpi.h"
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "io.h"
#include "mem.h"
#include "test.h"

#define CMOS_INDEX     0x70
#define CMOS_DATA      0x71
#define RTC_A          0x0a
#define RTC_B          0x0b
#define RTC_D          0x0d
#define RTC_A_UPDATING 0x80
#define RTC_B_24H      0x02
#define RTC_B_BINARY   0x04
#define RTC_D_VALID    0x80

#define PIT_CHANNEL0 0x40
#define PIT_CHANNEL2 0x42
#define PIT_COMMAND  0x43
#define PIT_HZ       1193182u
#define PORT_B       0x61
#define I8042_STATUS 0x64
#define UNUSED_PORT  0x5a0

static enum verdict memory_map(void)
{
	const struct boot_info *b = boot_info();
	uint64_t ram = 0;
	CHECK(b->nranges > 0);
	for (unsigned i = 0; i < b->nranges; i++) {
		const struct boot_range *r = &b->ranges[i];
		CHECK(r->bytes > 0 && r->start + r->bytes > r->start);
		for (unsigned k = 0; k < i; k++)
			CHECK(r->start >= b->ranges[k].start + b->ranges[k].bytes ||
			      b->ranges[k].start >= r->start + r->bytes);
		ram += r->type == BOOT_RAM ? r->bytes : 0;
	}
	print("info ram %lu KiB in %u ranges, end 0x%lx\n", ram >> 10, b->nranges, boot_ram_end());
	uint64_t expected = boot_param_number("ram_mib", 0);
	if (expected) /* reserved pages below 1 MiB are not counted */
		CHECK(ram <= expected << 20 && ram + (1u << 20) >= expected << 20);
	return PASS;
}

/* The last bytes of every RAM range keep what is written. */
static enum verdict memory_ends(void)
{
	const struct boot_info *b = boot_info();
	for (unsigned i = 0; i < b->nranges; i++) {
		const struct boot_range *r = &b->ranges[i];
		if (r->type != BOOT_RAM || r->start + r->bytes <= 1u << 20)
			continue;
		uint64_t at = r->start + r->bytes - 8;
		if (boot_info()->initrd && at >= boot_info()->initrd)
			continue;
		mem_map(at, 8);
		uint64_t old = mmio_read64(at);
		mmio_write64(at, at ^ 0x5a5a5a5a5a5a5a5a);
		CHECK_EQ(mmio_read64(at), at ^ 0x5a5a5a5a5a5a5a5a);
		mmio_write64(at, old);
	}
	return PASS;
}

/* The host gives `initrd_sum=`, the sum of all bytes. */
static enum verdict initrd_sum(void)
{
	uint64_t expected = boot_param_number("initrd_sum", 0), sum = 0;
	if (!expected)
		return test_skip("no initrd_sum=");
	const uint8_t *p = (const uint8_t *)boot_info()->initrd;
	for (uint64_t i = 0; i < boot_info()->initrd_bytes; i++)
		sum += p[i];
	CHECK_EQ(sum, expected);
	return PASS;
}

static enum verdict acpi_tables(void)
{
	static const char *const wanted[] = { "FACP", "APIC", "MCFG" };
	const struct acpi_rsdp *r = acpi_rsdp();
	CHECK(r && mem_equal(r->signature, "RSD PTR ", 8));
	CHECK(acpi_sum_is_zero(r, 20));
	if (r->revision >= 2)
		CHECK(acpi_sum_is_zero(r, r->length));
	for (unsigned i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		const struct acpi_header *t = acpi_find(wanted[i]);
		if (!t)
			return test_fail("no %s", wanted[i]);
		if (!acpi_sum_is_zero(t, t->length))
			return test_fail("checksum of %s", wanted[i]);
	}
	CHECK(acpi_s5_type() < 8);
	unsigned cpus = (unsigned)boot_param_number("cpus", 0);
	if (cpus)
		CHECK_EQ(acpi_cpus(), cpus);
	return PASS;
}

/*
 * It counts 3579.545 times a millisecond of the TSC, however long the host held us up in between;
 * pit.channel2 compares the TSC with a clock of its own.
 */
static enum verdict pm_timer(void)
{
	struct clock_pair a, b;
	uint16_t port = acpi_pm_timer();
	if (!port)
		return test_skip("no ACPI timer");
	for (unsigned i = 0; i < 5; i++) {
		clock_read_pair(&a, port);
		clock_delay_us(2000);
		clock_read_pair(&b, port);
		uint64_t us = (b.tsc - a.tsc) * 1000 / clock_tsc_khz();
		uint64_t wanted = us * 3579545 / 1000000, ticks = (b.pm - a.pm) & 0xffffff;
		uint64_t slack_us = (a.slack + b.slack) * 1000 / clock_tsc_khz();
		uint64_t bound = wanted / 10 + slack_us * 4 + 8;
		if (us > 4000000)
			continue; /* it wrapped */
		if (ticks + bound < wanted || ticks > wanted + bound)
			return test_fail("%lu ticks in %lu us, not %lu", ticks, us, wanted);
	}
	return PASS;
}

static uint8_t cmos_read(uint8_t reg)
{
	out8(CMOS_INDEX, reg);
	return in8(CMOS_DATA);
}

static unsigned rtc_field(uint8_t reg, uint8_t mode)
{
	unsigned v = cmos_read(reg);
	return mode & RTC_B_BINARY ? v : (v >> 4) * 10 + (v & 15);
}

/* Days from 1970-01-01 to the first of March of year @y, in years that start with March. */
static uint64_t days_to_march(uint64_t y)
{
	return y * 365 + y / 4 - y / 100 + y / 400 - 719468;
}

static uint64_t rtc_read(void)
{
	uint8_t mode = cmos_read(RTC_B);
	for (unsigned i = 0; i < 10000 && (cmos_read(RTC_A) & RTC_A_UPDATING); i++)
		;
	uint64_t sec = rtc_field(0, mode), min = rtc_field(2, mode), hour = rtc_field(4, mode);
	uint64_t day = rtc_field(7, mode), mon = rtc_field(8, mode), year = rtc_field(9, mode);
	year += mon <= 2 ? 1999 : 2000;
	uint64_t march = (mon + 9) % 12; /* months since March */
	uint64_t days = days_to_march(year) + (153 * march + 2) / 5 + day - 1;
	return ((days * 24 + hour) * 60 + min) * 60 + sec;
}

/* The fields of one moment: the host may hold us up between two of them. */
static uint64_t rtc_seconds(void)
{
	uint64_t a, b = rtc_read();
	do {
		a = b;
		b = rtc_read();
	} while (a != b);
	return b;
}

/* The host gives `epoch=`, the time when it started the machine. */
static enum verdict rtc_time(void)
{
	uint64_t epoch = boot_param_number("epoch", 0);
	CHECK(cmos_read(RTC_D) & RTC_D_VALID);
	CHECK(cmos_read(RTC_B) & RTC_B_24H);
	uint64_t a = rtc_seconds(), b = rtc_seconds();
	CHECK(b >= a && b - a <= 60);
	if (!epoch)
		return test_skip("no epoch=; the clock says %lu", a);
	if (a + 2 < epoch || a > epoch + 120)
		return test_fail("%lu, started at %lu", a, epoch);
	return PASS;
}

static enum verdict rtc_ticks(void)
{
	uint64_t a = rtc_seconds(), begin = clock_us();
	for (uint64_t end = clock_after_ms(CLOCK_PATIENCE_MS); rtc_seconds() == a;)
		if (clock_passed(end))
			return test_fail("stands still");
	uint64_t b = rtc_seconds();
	while (rtc_seconds() == b && clock_us() - begin < 2000 * CLOCK_PATIENCE_MS)
		;
	CHECK(rtc_seconds() > b);
	return PASS;
}

/* IRQ 0 arrives at the pin that MADT overrides tell (KVM without override: pin 0). Try both. */
static enum verdict pit_interrupts(void)
{
	unsigned before = irq_count(VEC_PIC) + irq_count(VEC_PIC + 2);
	ioapic_open(0, false);
	ioapic_open(2, false);
	out8(PIT_COMMAND, 0x34); /* channel 0, both bytes, rate generator */
	out8(PIT_CHANNEL0, (PIT_HZ / 1000) & 0xff);
	out8(PIT_CHANNEL0, (PIT_HZ / 1000) >> 8);
	uint64_t end = clock_after_ms(CLOCK_PATIENCE_MS);
	unsigned now;
	do {
		now = irq_count(VEC_PIC) + irq_count(VEC_PIC + 2);
	} while (now - before < 5 && !clock_passed(end));
	out8(PIT_COMMAND, 0x30); /* one-shot, never loaded: silent */
	ioapic_close(0);
	ioapic_close(2);
	CHECK(now - before >= 5);
	return PASS;
}

/* Linux measures its TSC this way: gate on, count down, OUT2 rises. */
static enum verdict pit_channel2(void)
{
	out8(PORT_B, (uint8_t)((in8(PORT_B) & ~2) | 1)); /* gate on, speaker off */
	out8(PIT_COMMAND, 0xb0);                         /* channel 2, both bytes, mode 0 */
	out8(PIT_CHANNEL2, (PIT_HZ / 200) & 0xff);
	out8(PIT_CHANNEL2, (PIT_HZ / 200) >> 8);
	uint64_t begin = clock_us();
	CHECK(!(in8(PORT_B) & 0x20));
	while (!(in8(PORT_B) & 0x20))
		if (clock_us() - begin > 1000 * CLOCK_PATIENCE_MS)
			return test_fail("OUT2 never rises");
	uint64_t us = clock_us() - begin;
	if (us < 4000) /* 5 ms; a busy host may be late, never early */
		return test_fail("5 ms took %lu us", us);
	return PASS;
}

static enum verdict timer_one_shot(void)
{
	unsigned before = irq_count(VEC_TIMER);
	apic_timer(1000000, false);
	CHECK(irq_wait(VEC_TIMER, before, CLOCK_PATIENCE_MS));
	clock_delay_us(5000);
	CHECK_EQ(irq_count(VEC_TIMER), before + 1);
	CHECK_EQ(apic_timer_left(), 0);
	return PASS;
}

static enum verdict timer_periodic(void)
{
	unsigned before = irq_count(VEC_TIMER), now;
	apic_timer(1000000, true);
	uint64_t end = clock_after_ms(CLOCK_PATIENCE_MS);
	do {
		now = irq_count(VEC_TIMER);
	} while (now - before < 5 && !clock_passed(end));
	apic_timer(0, false);
	CHECK(now - before >= 5);
	return PASS;
}

/* Sleep and be woken, many times: a lost wake-up would hang here. */
static enum verdict timer_wakes(void)
{
	irq_off();
	for (unsigned i = 0; i < 200; i++) {
		unsigned before = irq_count(VEC_TIMER);
		apic_timer(1000 + i * 500, false);
		while (irq_count(VEC_TIMER) == before)
			cpu_idle();
	}
	irq_on();
	return PASS;
}

static enum verdict self_ipi(void)
{
	for (unsigned i = 0; i < 10; i++) {
		unsigned before = irq_count(VEC_TIMER);
		apic_self_ipi(VEC_TIMER);
		CHECK(irq_wait(VEC_TIMER, before, CLOCK_PATIENCE_MS));
	}
	return PASS;
}

static enum verdict irq_off_holds(void)
{
	irq_off();
	unsigned before = irq_count(VEC_TIMER);
	apic_self_ipi(VEC_TIMER);
	clock_delay_us(500);
	unsigned held = irq_count(VEC_TIMER);
	irq_on();
	CHECK_EQ(held, before);
	CHECK(irq_wait(VEC_TIMER, before, CLOCK_PATIENCE_MS));
	return PASS;
}

static enum verdict i8042_ready(void)
{
	CHECK(!(in8(I8042_STATUS) & 0x02)); /* input buffer full: nobody could ask for a reset */
	return PASS;
}

static enum verdict unused_port(void)
{
	out8(UNUSED_PORT, 0x5a);
	out16(UNUSED_PORT, 0x5a5a);
	out32(UNUSED_PORT, 0x5a5a5a5a);
	CHECK_EQ(in8(UNUSED_PORT), 0xff);
	CHECK_EQ(in16(UNUSED_PORT), 0xffff);
	CHECK_EQ(in32(UNUSED_PORT), 0xffffffff);
	return PASS;
}

static enum verdict second_cpu(void);

const struct test platform_tests[] = {
	{ "boot.memory-map", memory_map },   { "boot.memory-ends", memory_ends },
	{ "boot.initrd", initrd_sum },       { "acpi.tables", acpi_tables },
	{ "acpi.pm-timer", pm_timer },       { "rtc.time", rtc_time },
	{ "rtc.ticks", rtc_ticks },          { "pit.interrupts", pit_interrupts },
	{ "pit.channel2", pit_channel2 },    { "apic.one-shot", timer_one_shot },
	{ "apic.periodic", timer_periodic }, { "apic.wakes", timer_wakes },
	{ "apic.self-ipi", self_ipi },       { "apic.irq-off", irq_off_holds },
	{ "i8042.ready", i8042_ready },      { "bus.unused-port", unused_port },
	{ "smp.second-cpu", second_cpu },    { NULL, NULL },
};

struct pong {
	uint64_t turn; /* even: the first processor's, odd: the second's */
	unsigned cpu;
};

#define PONG_TURNS 20000
#define PONG_MS    2000 /* or so long: on a host of one CPU each turn takes a slice of its time */
#define PONG_ENDS  UINT64_MAX

static void pong(void *arg)
{
	struct pong *p = arg;
	p->cpu = cpu_this()->index;
	for (uint64_t turn, i = 1;; i += 2) {
		do {
			cpu_pause();
			/* pairs with second_cpu() */
			turn = __atomic_load_n(&p->turn, __ATOMIC_ACQUIRE);
			if (turn == PONG_ENDS)
				return;
		} while (turn != i);
		__atomic_store_n(&p->turn, i + 1, __ATOMIC_RELEASE);
	}
}

static enum verdict second_cpu(void)
{
	static struct pong p;
	p = (struct pong){ 0 };
	if (acpi_cpus() < 2)
		return test_skip("one processor");
	CHECK(smp_run(pong, &p));
	uint64_t end = clock_after_ms(PONG_MS);
	for (uint64_t i = 0; i < PONG_TURNS && !clock_passed(end); i += 2) {
		__atomic_store_n(&p.turn, i + 1, __ATOMIC_RELEASE);
		uint64_t limit = clock_after_ms(CLOCK_PATIENCE_MS);
		while (__atomic_load_n(&p.turn, __ATOMIC_ACQUIRE) != i + 2) /* pairs with pong() */
			if (clock_passed(limit))
				return test_fail("stuck at turn %lu", i);
	}
	__atomic_store_n(&p.turn, PONG_ENDS, __ATOMIC_RELEASE);
	CHECK(smp_wait(CLOCK_PATIENCE_MS));
	CHECK_EQ(p.cpu, 1);
	return PASS;
}
