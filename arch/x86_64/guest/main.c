/*
 * main.c - from the loader to the tests and out again.
 *
 * Command line: `test=NAME[,NAME…]`: a name, a group (`blk`), or `all`; without it the names are
 * listed. `test=attack`: what attack.h says. `laps=N`: all of them N times over. Output, one line
 * each: `ok NAME`, `FAIL NAME: why`, `skip NAME: why`, `info …`, and at last `done P passed F
 * failed S skipped`. Powers off where nothing failed, else resets. `bench=ADDRESS`: does what `vmm
 * bench` asks for instead.
 */
#include "acpi.h"
#include "attack.h"
#include "bench.h"
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "io.h"
#include "mem.h"
#include "pci.h"
#include "power.h"
#include "test.h"

static const struct test *const tables[] = {
	platform_tests, serial_tests, pci_tests,      transport_tests, irq_tests,
	queue_tests,    blk_tests,    blk_load_tests, rng_tests,       console_tests,
	hostile_tests,  reset_tests,  faults_tests,   torture_tests,   kills_tests,
};

static const struct attack *const attacks[] = {
	attacks_chain,   attacks_indirect, attacks_index,  attacks_place,
	attacks_request, attacks_register, attacks_pci,    attacks_msix,
	attacks_board,   attacks_race,     attacks_packed,
};

/* Ways to end that `test=` also takes, alone; none returns. */
static const struct {
	const char *name;
	void (*fn)(void);
} actions[] = {
	{ "first", power_off },
	{ "poweroff", power_off },
	{ "reset", power_reset },
	{ "reset-i8042", power_reset_i8042 },
	{ "triplefault", power_triple_fault },
	{ "reset-and-fault", power_reset_and_fault },
	{ "hang", power_hang },
	{ "power-button", power_button },
};

static struct {
	unsigned passed, failed, skipped;
	char why[256];
} result;

static enum verdict give_reason(enum verdict v, const char *fmt, va_list ap)
{
	if (!result.why[0])
		(void)format_v(result.why, sizeof(result.why), fmt, ap); /* cut short is fine */
	return v;
}

enum verdict test_fail(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	enum verdict v = give_reason(FAIL, fmt, ap);
	va_end(ap);
	return v;
}

enum verdict test_skip(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	enum verdict v = give_reason(SKIP, fmt, ap);
	va_end(ap);
	return v;
}

enum verdict test_fail_at(const char *claim, const char *file, unsigned line)
{
	return test_fail("%s:%u: %s", file, line, claim);
}

bool test_equal(uint64_t a, uint64_t b, const char *what, const char *file, unsigned line)
{
	if (a != b)
		(void)test_fail("%s:%u: %s is 0x%lx, not 0x%lx", file, line, what, a, b);
	return a == b;
}

bool is_strict(void)
{
	return boot_param_number("strict", 0);
}

/* Is @name chosen by one of the comma-separated words of @wanted? */
static bool is_chosen(const char *name, const char *wanted)
{
	for (const char *w = wanted; *w;) {
		size_t len = 0;
		while (w[len] && w[len] != ',')
			len++;
		bool is_all = len == 3 && mem_equal(w, "all", 3);
		size_t n = str_len(name);
		if (is_all ||
		    (len <= n && mem_equal(w, name, len) && (len == n || name[len] == '.')))
			return true;
		w += len + (w[len] == ',');
	}
	return false;
}

static void begin(void)
{
	result.why[0] = '\0';
	heap_empty();
}

static void count(const char *name, enum verdict v, uint64_t us)
{
	switch (v) {
	case PASS:
		result.passed++;
		print("ok %s (%lu us)\n", name, us);
		break;
	case SKIP:
		result.skipped++;
		print("skip %s: %s\n", name, result.why);
		break;
	case FAIL:
		result.failed++;
		print("FAIL %s: %s\n", name, result.why);
	}
}

static void run_test(const struct test *t)
{
	begin();
	uint64_t from = clock_us();
	enum verdict v = t->fn();
	count(t->name, v, clock_us() - from);
}

static void run_attack(const struct attack *a)
{
	begin();
	uint64_t from = clock_us();
	enum verdict v = attack_run(a);
	count(a->name, v, clock_us() - from);
}

static void for_each_test(const char *wanted, void (*fn)(const struct test *t))
{
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		for (const struct test *t = tables[i]; t->name; t++)
			if (is_chosen(t->name, wanted))
				fn(t);
}

static void for_each_attack(const char *wanted, void (*fn)(const struct attack *a))
{
	for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++)
		for (const struct attack *a = attacks[i]; a->name; a++)
			if (is_chosen(a->name, wanted))
				fn(a);
}

static void list_test(const struct test *t)
{
	print("test %s\n", t->name);
}

static void list_attack(const struct attack *a)
{
	print("test %s (%s; %s)\n", a->name, a->what, attack_promise(a->holds));
}

static void list(void)
{
	for_each_test("all", list_test);
	for_each_attack("all", list_attack);
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		print("action %s\n", actions[i].name);
}

static void act(const char *wanted)
{
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		if (str_equal(wanted, actions[i].name))
			actions[i].fn();
}

static void machine_init(struct cpu *c)
{
	trap_init();
	heap_init(boot_ram_end_here());
	clock_init();
	apic_init(c);
	pic_disable();
	irq_on();
	pci_init();
}

static void run(const char *wanted)
{
	print("info boot %s, %s, tsc %lu kHz, %u cpus\n", boot_info()->protocol,
	      cpu_is_native() ? "native" : "plain", clock_tsc_khz(), acpi_cpus());
	uint64_t laps = boot_param_number("laps", 1);
	for (uint64_t lap = 1; lap <= laps; lap++) {
		for_each_test(wanted, run_test);
		for_each_attack(wanted, run_attack);
		if (laps > 1)
			print("info lap %lu done\n", lap);
	}
	if (!(result.passed + result.failed + result.skipped)) {
		result.failed++;
		print("FAIL %s: no such test\n", wanted);
	}
	print("done %u passed %u failed %u skipped\n", result.passed, result.failed,
	      result.skipped);
}

void guest_main(const struct boot_params *params, const struct hvm_start_info *pvh);

void guest_main(const struct boot_params *params, const struct hvm_start_info *pvh)
{
	struct cpu *c = cpu_this();
	char wanted[512];
	trap_init_early();
	native_init(c);
	boot_init(params, pvh);
	acpi_init();
	bool has_wish = boot_param("test", wanted, sizeof(wanted));
	if (bench_is_wanted()) {
		machine_init(c);
		bench_run();
		power_off();
	}
	act(wanted);
	if (!has_wish || str_equal(wanted, "list")) {
		list();
		power_off();
	}
	machine_init(c);
	run(wanted);
	if (result.failed)
		power_reset();
	power_off();
}
