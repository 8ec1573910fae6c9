/* test_virtio_pci_irq.c - the PCI transport: interrupts by MSI-X and by line, and the window. */
#include "base/clock.h"
#include "sync/thread.h"
#include "unit/virtio/pci_fixture.h"
#include "virtio/pci_priv.h"

/* --- interrupts --- */

static void vectors_that_do_not_exist_read_back_as_none(void **state)
{
	struct fixture *f = *state;
	enable_msix(f);
	put(f, R_CONFIG_VECTOR, NR_VECTORS - 1, 2);
	assert_int_equal(get(f, R_CONFIG_VECTOR, 2), NR_VECTORS - 1);
	put(f, R_CONFIG_VECTOR, NR_VECTORS, 2);
	assert_int_equal(get(f, R_CONFIG_VECTOR, 2), 0xffff);
	put(f, R_QUEUE_VECTOR, 0x8000, 2);
	assert_int_equal(get(f, R_QUEUE_VECTOR, 2), 0xffff);
	f->chip.max_routes = 1; /* vector 3 has the only one */
	put(f, R_QUEUE_VECTOR, 1, 2);
	assert_int_equal(get(f, R_QUEUE_VECTOR, 2), 0xffff);
	put(f, R_QUEUE_VECTOR, NR_VECTORS - 1, 2); /* sharing needs no more */
	assert_int_equal(get(f, R_QUEUE_VECTOR, 2), NR_VECTORS - 1);
}

static void msix_vectors_carry_the_signals(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(f->fake.wires_changes, 0);
	enable_msix(f);
	assert_true(f->fake.wires_changes);
	put(f, R_CONFIG_VECTOR, 0, 2);
	go_live(f);
	assert_false(notifier_has_fn(f->fake.setup[0].call));
	for (uint16_t i = 0; i < 2; i++) {
		put(f, R_QUEUE_SELECT, i, 2);
		put(f, R_QUEUE_VECTOR, i + 1u, 2);
	}
	unsigned wired = 0;
	for (unsigned gsi = 0; gsi < FAKE_GSIS; gsi++)
		wired += (unsigned)f->chip.wires[gsi];
	assert_int_equal(wired, 3);
	struct notifier *call = f->fake.setup[0].call;
	notifier_signal(call);
	assert_true(notifier_is_pending(call)); /* in the eventfd: the kernel would take it */
	assert_int_equal(get(f, ISR, 1), 0);
	assert_false(f->chip.level[INTX_GSI]);
	(void)notifier_consume(call);
	put(f, R_QUEUE_SELECT, 0, 2);
	put(f, R_QUEUE_VECTOR, MSIX_NO_VECTOR, 2);
	notifier_signal(call);
	put(f, R_QUEUE_VECTOR, 1, 2);
	assert_false(notifier_is_pending(call)); /* said to nobody, not kept for later */
}

static void a_masked_vector_stays_pending(void **state)
{
	struct fixture *f = *state;
	enable_msix(f);
	go_live(f);
	put(f, R_QUEUE_SELECT, 0, 2);
	put(f, R_QUEUE_VECTOR, 1, 2);
	put(f, TABLE + 16 + 12, 1, 4);
	notifier_signal(f->fake.setup[0].call);
	assert_int_equal(get(f, PBA, 8), 2);
	put(f, TABLE + 16 + 12, 0, 4);
	assert_int_equal(get(f, PBA, 8), 0);
}

static void without_msix_the_line_and_isr_speak(void **state)
{
	struct fixture *f = *state;
	go_live(f);
	notifier_signal(f->fake.setup[0].call);
	assert_true(f->chip.level[INTX_GSI]);
	notifier_signal(f->fake.setup[1].call);
	assert_int_equal(get(f, ISR, 1), 1);
	assert_false(f->chip.level[INTX_GSI]);
	assert_int_equal(get(f, ISR, 1), 0);
	vdev_config_begin(&f->fake.dev);
	vdev_config_end(&f->fake.dev, true);
	assert_true(f->chip.level[INTX_GSI]);
	notifier_signal(f->fake.setup[0].call);
	assert_int_equal(get(f, ISR, 4), 3);
	assert_false(f->chip.level[INTX_GSI]);
	vdev_needs_reset(&f->fake.dev, "scripted");
	assert_int_equal(get(f, ISR, 1), 2);
	assert_int_equal(get(f, R_STATUS, 1), LIVE | VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void switching_to_msix_silences_the_line(void **state)
{
	struct fixture *f = *state;
	go_live(f);
	notifier_signal(f->fake.setup[0].call);
	assert_true(f->chip.level[INTX_GSI]);
	enable_msix(f);
	assert_false(f->chip.level[INTX_GSI]);
	notifier_signal(f->fake.setup[0].call);
	assert_false(f->chip.level[INTX_GSI]);
	config_put(f, find_cap(f, PCI_CAP_ID_MSIX, 0) + 2, 0, 2);
	assert_true(f->chip.level[INTX_GSI]); /* what ISR still says */
	assert_int_equal(get(f, ISR, 1), 1);
	notifier_signal(f->fake.setup[0].call);
	assert_int_equal(get(f, ISR, 1), 1);
}

static void set_vectors(struct fixture *f)
{
	put(f, R_CONFIG_VECTOR, 0, 2);
	for (uint16_t i = 0; i < 2; i++) {
		put(f, R_QUEUE_SELECT, i, 2);
		put(f, R_QUEUE_VECTOR, i + 1u, 2);
	}
}

static void set_msix(struct fixture *f, uint32_t control)
{
	config_put(f, find_cap(f, PCI_CAP_ID_MSIX, 0) + 2, control, 2);
}

/* As where a driver comes back from sleep: it restores the mode, and its vectors are still there.
 */
static void what_the_line_did_not_get_told_goes_by_msix(void **state)
{
	struct fixture *f = *state;
	enable_msix(f);
	set_vectors(f);
	go_live(f);
	set_msix(f, 0);
	notifier_signal(f->fake.setup[0].call);
	set_msix(f, PCI_MSIX_FLAGS_ENABLE);
	assert_true(notifier_consume(f->fake.setup[0].call));
	assert_false(notifier_is_pending(&f->v->config.call));
	assert_false(f->chip.level[INTX_GSI]);
	set_msix(f, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL); /* no other mode: said once */
	set_msix(f, PCI_MSIX_FLAGS_ENABLE);
	assert_false(notifier_is_pending(f->fake.setup[0].call));
	set_msix(f, 0);
	assert_int_equal(get(f, ISR, 1), 1);
	vdev_config_begin(&f->fake.dev);
	vdev_config_end(&f->fake.dev, true);
	set_msix(f, PCI_MSIX_FLAGS_ENABLE);
	assert_true(notifier_consume(&f->v->config.call));
	assert_false(notifier_is_pending(f->fake.setup[0].call));
}

static void what_msix_had_pending_goes_by_the_line(void **state)
{
	struct fixture *f = *state;
	enable_msix(f);
	set_vectors(f);
	go_live(f);
	set_msix(f, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	notifier_signal(f->fake.setup[1].call);
	assert_false(f->chip.level[INTX_GSI]);
	set_msix(f, 0);
	assert_true(f->chip.level[INTX_GSI]);
	assert_false(notifier_is_pending(f->fake.setup[1].call));
	assert_int_equal(get(f, ISR, 1), 1);
	set_msix(f, PCI_MSIX_FLAGS_ENABLE);
	notifier_signal(&f->v->config.call);
	set_msix(f, 0);
	assert_int_equal(get(f, ISR, 1), VIRTIO_PCI_ISR_CONFIG);
	set_msix(f, PCI_MSIX_FLAGS_ENABLE);
	put(f, R_QUEUE_SELECT, 0, 2);
	put(f, R_QUEUE_VECTOR, MSIX_NO_VECTOR, 2);
	notifier_signal(f->fake.setup[0].call);
	set_msix(f, 0);
	assert_false(f->chip.level[INTX_GSI]); /* nobody was to be told */
}

/* DPDK asks ISR what its vector means. */
static void isr_tells_of_the_configuration_under_msix_too(void **state)
{
	struct fixture *f = *state;
	enable_msix(f);
	put(f, R_CONFIG_VECTOR, 0, 2);
	go_live(f);
	notifier_signal(f->fake.setup[0].call);
	assert_int_equal(get(f, ISR, 1), 0);
	vdev_config_begin(&f->fake.dev);
	vdev_config_end(&f->fake.dev, true);
	assert_false(f->chip.level[INTX_GSI]);
	assert_int_equal(get(f, ISR, 1), VIRTIO_PCI_ISR_CONFIG);
	assert_int_equal(get(f, ISR, 1), 0);
	vdev_config_begin(&f->fake.dev);
	vdev_config_end(&f->fake.dev, true);
	put(f, R_STATUS, 0, 1);
	vdev_queue_stopped(&f->fake.dev, 0);
	vdev_queue_stopped(&f->fake.dev, 1);
	config_put(f, find_cap(f, PCI_CAP_ID_MSIX, 0) + 2, 0, 2);
	assert_false(f->chip.level[INTX_GSI]); /* a reset has forgotten it */
}

/* A driver that changes modes while it is served. */
struct toggler {
	struct fixture *f;
	void (*turn)(struct fixture *f, unsigned turn);
	_Atomic unsigned asked, done; /* turns */
};

#define TURNS   20000
#define TURN_NS (3 * NSEC_PER_SEC) /* for all of them, where others keep the CPUs busy */

/* Until @turn is reached: soon, if the other thread has a CPU. */
static void await(const _Atomic unsigned *at, unsigned turn)
{
	for (unsigned spins = 0; *at < turn; spins++)
		if (spins < 1000)
			cpu_relax();
		else
			sched_yield();
}

static void toggle(void *arg)
{
	struct toggler *t = arg;
	for (unsigned turn = 1; await(&t->asked, turn), t->asked <= TURNS; turn++) {
		t->turn(t->f, turn);
		t->done = turn;
	}
}

/* How many of the signals that met a turn were @is_lost. */
static unsigned signals_lost(struct fixture *f, void (*turn)(struct fixture *f, unsigned turn),
			     bool (*is_lost)(struct fixture *f, unsigned turn))
{
	struct toggler t = { .f = f, .turn = turn };
	struct thread_attr attr = { .name = "toggler" };
	struct thread *thread;
	unsigned lost = 0;
	assert_int_equal(thread_create(&thread, &attr, toggle, &t), 0);
	uint64_t end_ns = clock_ns() + TURN_NS;
	for (unsigned i = 1; i <= TURNS && clock_ns() < end_ns; i++) {
		t.asked = i;
		for (unsigned pause = 0; pause < i % 64; pause++)
			cpu_relax();
		notifier_signal(f->fake.setup[0].call);
		await(&t.done, i);
		lost += is_lost(f, i);
	}
	t.asked = UINT32_MAX; /* no more */
	thread_join(thread);
	return lost;
}

/* Masks its interrupt by INTx-disable: uio, for one. */
static void toggle_line(struct fixture *f, unsigned turn)
{
	(void)turn;
	config_put(f, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE, 2);
	config_put(f, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
}

static bool line_is_down(struct fixture *f, unsigned turn)
{
	bool is_down = !f->chip.level[INTX_GSI];
	(void)turn;
	assert_int_equal(get(f, ISR, 1), 1);
	return is_down;
}

static void the_line_is_up_after_a_signal_that_met_a_mode_change(void **state)
{
	struct fixture *f = *state;
	go_live(f);
	assert_int_equal(signals_lost(f, toggle_line, line_is_down), 0);
}

/* MSI-X in every other turn. */
static void toggle_msix(struct fixture *f, unsigned turn)
{
	set_msix(f, turn % 2 ? PCI_MSIX_FLAGS_ENABLE : 0);
}

/* The chip here takes nothing, so what the vector was told is in the eventfd. */
static bool nobody_was_told(struct fixture *f, unsigned turn)
{
	bool is_up = f->chip.level[INTX_GSI];
	bool was_told = turn % 2 ? notifier_consume(f->fake.setup[0].call) && !is_up : is_up;
	(void)get(f, ISR, 1);
	return !was_told;
}

static void no_signal_is_lost_that_meets_a_change_to_or_from_msix(void **state)
{
	struct fixture *f = *state;
	enable_msix(f);
	set_vectors(f);
	go_live(f);
	set_msix(f, 0);
	assert_int_equal(signals_lost(f, toggle_msix, nobody_was_told), 0);
}

static void a_reset_lowers_the_line(void **state)
{
	struct fixture *f = *state;
	go_live(f);
	notifier_signal(f->fake.setup[0].call);
	put(f, R_STATUS, 0, 1);
	vdev_queue_stopped(&f->fake.dev, 0);
	vdev_queue_stopped(&f->fake.dev, 1);
	assert_int_equal(get(f, R_STATUS, 1), 0);
	assert_false(f->chip.level[INTX_GSI]);
	assert_int_equal(get(f, ISR, 1), 0);
}

/* --- the window in configuration space --- */

static void window(struct fixture *f, unsigned cap, uint32_t bar, uint32_t off, uint32_t len)
{
	config_put(f, cap + 4, bar, 1);
	config_put(f, cap + 8, off, 4);
	config_put(f, cap + 12, len, 4);
}

static void the_window_reaches_every_part(void **state)
{
	struct fixture *f = *state;
	unsigned cap = find_cap(f, 0x09, VIRTIO_PCI_CAP_PCI_CFG), data = cap + 16;
	memcpy(f->fake.config, "abcd", 4);
	window(f, cap, 0, DEVCFG, 4);
	assert_int_equal(config_get(f, data, 4), 0x64636261);
	window(f, cap, 0, DEVCFG + 2, 2);
	assert_int_equal(config_get(f, data, 2), 0x6463);
	window(f, cap, 0, DEVCFG + 1, 1);
	config_put(f, data, 'Y', 1);
	assert_memory_equal(f->fake.config, "aYcd", 4);
	window(f, cap, 0, R_STATUS, 1);
	config_put(f, data, VIRTIO_CONFIG_S_ACKNOWLEDGE, 1);
	assert_int_equal(get(f, R_STATUS, 1), VIRTIO_CONFIG_S_ACKNOWLEDGE);
	assert_int_equal(config_get(f, data, 1), VIRTIO_CONFIG_S_ACKNOWLEDGE);
	put(f, R_STATUS, 0, 1);
	go_live(f);
	notifier_signal(f->fake.setup[0].call);
	window(f, cap, 0, ISR, 1);
	assert_int_equal(config_get(f, data, 1), 1); /* and lowers the line */
	assert_false(f->chip.level[INTX_GSI]);
	window(f, cap, 0, NOTIFY + 4, 2);
	config_put(f, data, 1, 2);
	assert_true(has_count(f->fake.setup[1].kick_fd));
}

static void a_window_to_nowhere_does_nothing(void **state)
{
	struct fixture *f = *state;
	unsigned cap = find_cap(f, 0x09, VIRTIO_PCI_CAP_PCI_CFG), data = cap + 16;
	static const struct {
		uint32_t bar, off, len;
	} rows[] = {
		{ 1, DEVCFG, 4 },     { 255, DEVCFG, 4 },   { 0, DEVCFG, 0 },
		{ 0, DEVCFG, 3 },     { 0, DEVCFG, 8 },     { 0, DEVCFG, ~0u },
		{ 0, DEVCFG + 1, 4 }, { 0, DEVCFG + 2, 4 }, { 0, DEVCFG + 1, 2 },
		{ 0, 0x8000, 4 },     { 0, 0xfffffffc, 4 }, { 0, ~0u, 1 },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		memset(f->fake.config, 0x55, FAKE_CONFIG);
		window(f, cap, rows[i].bar, rows[i].off, rows[i].len);
		config_put(f, data, 0x12345678, 4);
		assert_int_equal(config_get(f, data, 4), 0x12345678); /* just bytes */
		for (unsigned b = 0; b < FAKE_CONFIG; b++)
			assert_int_equal(f->fake.config[b], 0x55);
	}
}

int main(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	rcu_enter_thread();
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(vectors_that_do_not_exist_read_back_as_none),
		T(msix_vectors_carry_the_signals),
		T(a_masked_vector_stays_pending),
		T(without_msix_the_line_and_isr_speak),
		T(switching_to_msix_silences_the_line),
		T(what_the_line_did_not_get_told_goes_by_msix),
		T(what_msix_had_pending_goes_by_the_line),
		T(isr_tells_of_the_configuration_under_msix_too),
		T(the_line_is_up_after_a_signal_that_met_a_mode_change),
		T(no_signal_is_lost_that_meets_a_change_to_or_from_msix),
		T(a_reset_lowers_the_line),
		T(the_window_reaches_every_part),
		T(a_window_to_nowhere_does_nothing),
	};
	int failed = cmocka_run_group_tests_name("virtio/pci", tests, NULL, NULL);
	rcu_leave_thread();
	return failed;
}
