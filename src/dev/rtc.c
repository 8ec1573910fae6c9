/*
 * rtc.c - MC146818 clock with CMOS memory; see dev/platform.h.
 *
 * Spec: Motorola MC146818A data sheet; IBM PC AT Technical Reference for the memory behind it.
 * The clock is the host's plus an offset that the guest may set. Flags are not kept by a ticking
 * machine but worked out from the time that passed since they were last looked at; a timer runs
 * only while an interrupt is enabled and not yet raised. No square wave, no daylight saving.
 */
#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/clock.h"
#include "base/num.h"
#include "byte_io.h"
#include "dev/platform.h"
#include "rendezvous.h"
#include "rtc_priv.h"
#include "sync/mutex.h"

#define RTC_A_DEFAULT     0x26            /* 32768 Hz time base, 1024 Hz periodic rate */
#define RTC_UIP_NS        (244 * 1000ull) /* update in progress is announced this long before */
#define RTC_DAY_SECONDS   86400
#define RTC_EQUIPMENT_FPU 0x02

struct rtc {
	/* immutable after create */
	struct rtc_config cfg;
	struct notifier stopped;
	struct mutex lock;
	/* under lock */
	uint8_t index;
	uint8_t cmos[RTC_BYTES]; /* what is not worked out: alarms, A, B, memory */
	int64_t offset_s;        /* guest's time minus the host's */
	struct tm set;           /* the time while B says SET: as the guest writes it */
	uint8_t flags;           /* RTC_C_*, as of seen_ns */
	uint64_t seen_ns;
	bool irq_level, is_posted, is_stopping;
	struct reactor_msg msg;
	/* reactor's thread */
	struct reactor_op timer;
	bool is_timing, is_cancelled;
};

static uint64_t rtc_realtime(void *ctx)
{
	struct timespec ts;
	(void)ctx;
	clock_gettime(CLOCK_REALTIME, &ts);
	return timespec_ns(&ts);
}

static uint64_t rtc_now(const struct rtc *r)
{
	return r->cfg.now_ns(r->cfg.now_ctx);
}

/* --- time --- */

/* What the clock shows: it stands while it is being set. */
static struct tm rtc_time(const struct rtc *r, uint64_t now) MUST_HOLD(&r->lock)
{
	struct tm tm = r->set;
	time_t t = (time_t)((int64_t)(now / NSEC_PER_SEC) + r->offset_s);
	if (!(r->cmos[RTC_B] & RTC_B_SET))
		gmtime_r(&t, &tm);
	return tm;
}

static uint8_t rtc_read_time(struct rtc *r, unsigned reg) MUST_HOLD(&r->lock)
{
	struct tm tm = rtc_time(r, rtc_now(r));
	return rtc_time_get(&tm, reg, r->cmos[RTC_B]);
}

/* From now on the clock shows @tm; nonsense is normalised, as a real one would count on from it. */
static void rtc_set_time(struct rtc *r, struct tm tm, uint64_t now) MUST_HOLD(&r->lock)
{
	r->offset_s = (int64_t)timegm(&tm) - (int64_t)(now / NSEC_PER_SEC);
}

/* --- flags --- */

static unsigned rtc_rate_hz(const struct rtc *r)
{
	unsigned rate = r->cmos[RTC_A] & RTC_A_RATE;
	if (!rate)
		return 0;
	return rate <= 2 ? 512u >> rate : 65536u >> rate; /* table 5 of the data sheet */
}

/* Periods of 1/@hz since the epoch. */
static uint64_t rtc_periods(uint64_t ns, unsigned hz)
{
	return ns / NSEC_PER_SEC * hz + ns % NSEC_PER_SEC * hz / NSEC_PER_SEC;
}

/* Did one of the seconds after @from, up to @to, match the alarm? A day has them all. */
static bool rtc_alarm_passed(const struct rtc *r, int64_t from, int64_t to)
{
	if (to - from > RTC_DAY_SECONDS)
		from = to - RTC_DAY_SECONDS;
	for (int64_t s = from + 1; s <= to; s++) {
		int64_t of_day = s % RTC_DAY_SECONDS;
		if (rtc_time_is_alarm(r->cmos,
				      (int)(of_day < 0 ? of_day + RTC_DAY_SECONDS : of_day)))
			return true;
	}
	return false;
}

/* Bring the flags up to @now. */
static void rtc_look(struct rtc *r, uint64_t now) MUST_HOLD(&r->lock)
{
	int64_t from = (int64_t)(r->seen_ns / NSEC_PER_SEC), to = (int64_t)(now / NSEC_PER_SEC);
	unsigned hz = rtc_rate_hz(r);
	if (hz && rtc_periods(now, hz) != rtc_periods(r->seen_ns, hz))
		r->flags |= RTC_C_PERIODIC;
	if (to > from && !(r->cmos[RTC_B] & RTC_B_SET)) {
		r->flags |= RTC_C_UPDATE;
		if (rtc_alarm_passed(r, from + r->offset_s, to + r->offset_s))
			r->flags |= RTC_C_ALARM;
	}
	r->seen_ns = now;
}

static void rtc_write_time(struct rtc *r, unsigned reg, uint8_t v) MUST_HOLD(&r->lock)
{
	uint64_t now = rtc_now(r);
	rtc_look(r, now); /* what passed until now passed by the old time */
	struct tm tm = rtc_time(r, now);
	rtc_time_put(&tm, reg, v, r->cmos[RTC_B]);
	if (r->cmos[RTC_B] & RTC_B_SET)
		r->set = tm;
	else
		rtc_set_time(r, tm, now);
}

static void rtc_update_irq(struct rtc *r) MUST_HOLD(&r->lock)
{
	bool level = r->flags & r->cmos[RTC_B] & RTC_C_SOURCES;
	if (level == r->irq_level)
		return;
	r->irq_level = level;
	irq_line_set(&r->cfg.irq, level);
}

/* --- the timer --- */

/* Nanoseconds until a flag may come that is enabled; 0: none is, or the line is up already. */
static uint64_t rtc_next_ns(const struct rtc *r, uint64_t now) MUST_HOLD(&r->lock)
{
	uint8_t wanted = r->cmos[RTC_B] & RTC_C_SOURCES;
	if (!wanted || r->irq_level || r->is_stopping)
		return 0;
	uint64_t next = NSEC_PER_SEC - now % NSEC_PER_SEC;
	unsigned hz = rtc_rate_hz(r);
	if (wanted & RTC_C_PERIODIC && hz)
		next = NSEC_PER_SEC / hz - now % NSEC_PER_SEC % (NSEC_PER_SEC / hz);
	return next + 1;
}

/* Reactor's thread: run the timer for as long as it is needed. */
static void rtc_serve_timer(struct rtc *r)
{
	mutex_lock(&r->lock);
	uint64_t now = rtc_now(r);
	rtc_look(r, now);
	rtc_update_irq(r);
	uint64_t next = rtc_next_ns(r, now);
	bool is_stopping = r->is_stopping;
	mutex_unlock(&r->lock);
	r->is_timing = next;
	if (next)
		reactor_timeout(r->cfg.reactor, &r->timer, next);
	else if (is_stopping)
		notifier_signal(&r->stopped); /* the last thing done with r */
}

static void rtc_timer_done(struct reactor_op *op, int32_t res)
{
	struct rtc *r = container_of(op, struct rtc, timer);
	r->is_timing = false;
	bool is_ours = r->is_cancelled;
	r->is_cancelled = false;
	if (res != -ECANCELED || is_ours) /* else the reactor stops, and so do we */
		rtc_serve_timer(r);
}

static void rtc_on_msg(struct reactor_msg *m)
{
	struct rtc *r = container_of(m, struct rtc, msg);
	mutex_lock(&r->lock);
	r->is_posted = false;
	mutex_unlock(&r->lock);
	if (!r->is_timing) {
		rtc_serve_timer(r);
		return;
	}
	r->is_cancelled = true; /* rtc_timer_done() goes on */
	reactor_cancel(r->cfg.reactor, &r->timer);
}

/* Something changed that the timer depends on. */
static void rtc_post(struct rtc *r) MUST_HOLD(&r->lock)
{
	if (!r->cfg.reactor || r->is_posted)
		return;
	r->is_posted = true;
	reactor_post(r->cfg.reactor, &r->msg);
}

/* --- registers --- */

static uint8_t rtc_read_a(struct rtc *r, unsigned reg) MUST_HOLD(&r->lock)
{
	bool is_near = rtc_now(r) % NSEC_PER_SEC >= NSEC_PER_SEC - RTC_UIP_NS;
	bool is_set = r->cmos[RTC_B] & RTC_B_SET;
	return r->cmos[reg] | (is_near && !is_set ? RTC_A_UIP : 0);
}

static void rtc_write_a(struct rtc *r, unsigned reg, uint8_t v) MUST_HOLD(&r->lock)
{
	rtc_look(r, rtc_now(r));
	r->cmos[reg] = v & (uint8_t)~RTC_A_UIP;
	rtc_post(r);
}

static void rtc_write_b(struct rtc *r, unsigned reg, uint8_t v) MUST_HOLD(&r->lock)
{
	uint64_t now = rtc_now(r);
	bool was_set = r->cmos[reg] & RTC_B_SET;
	rtc_look(r, now);
	if (v & RTC_B_SET) {
		r->set = rtc_time(r, now);
		v &= (uint8_t)~RTC_C_UPDATE; /* data sheet: SET clears UIE */
	} else if (was_set) {
		rtc_set_time(r, r->set, now);
	}
	r->cmos[reg] = v;
	rtc_update_irq(r);
	rtc_post(r);
}

static uint8_t rtc_read_c(struct rtc *r, unsigned reg) MUST_HOLD(&r->lock)
{
	(void)reg;
	rtc_look(r, rtc_now(r));
	uint8_t v = r->flags;
	if (v & r->cmos[RTC_B] & RTC_C_SOURCES)
		v |= RTC_C_IRQ;
	r->flags = 0;
	rtc_update_irq(r);
	if (r->cmos[RTC_B] & RTC_C_SOURCES)
		rtc_post(r);
	return v;
}

static uint8_t rtc_read_d(struct rtc *r, unsigned reg)
{
	(void)r;
	(void)reg;
	return RTC_D_VALID;
}

static uint8_t rtc_read_memory(struct rtc *r, unsigned reg) MUST_HOLD(&r->lock)
{
	return r->cmos[reg];
}

static void rtc_write_alarm(struct rtc *r, unsigned reg, uint8_t v) MUST_HOLD(&r->lock)
{
	rtc_look(r, rtc_now(r));
	r->cmos[reg] = v;
}

static void rtc_write_memory(struct rtc *r, unsigned reg, uint8_t v) MUST_HOLD(&r->lock)
{
	r->cmos[reg] = v;
}

static void rtc_write_nothing(struct rtc *r, unsigned reg, uint8_t v)
{
	(void)r;
	(void)reg;
	(void)v;
}

/* Sorted; a register up to @last is served by the first row that reaches it. Under lock. */
static const struct rtc_reg {
	uint8_t last;
	uint8_t (*read)(struct rtc *r, unsigned reg);
	void (*write)(struct rtc *r, unsigned reg, uint8_t v);
} rtc_regs[] = {
	{ RTC_SECONDS, rtc_read_time, rtc_write_time },
	{ RTC_SECONDS_ALARM, rtc_read_memory, rtc_write_alarm },
	{ RTC_MINUTES, rtc_read_time, rtc_write_time },
	{ RTC_MINUTES_ALARM, rtc_read_memory, rtc_write_alarm },
	{ RTC_HOURS, rtc_read_time, rtc_write_time },
	{ RTC_HOURS_ALARM, rtc_read_memory, rtc_write_alarm },
	{ RTC_YEAR, rtc_read_time, rtc_write_time },
	{ RTC_A, rtc_read_a, rtc_write_a },
	{ RTC_B, rtc_read_memory, rtc_write_b },
	{ RTC_C, rtc_read_c, rtc_write_nothing },
	{ RTC_D, rtc_read_d, rtc_write_nothing },
	{ RTC_CENTURY - 1, rtc_read_memory, rtc_write_memory },
	{ RTC_CENTURY, rtc_read_time, rtc_write_time },
	{ RTC_BYTES - 1, rtc_read_memory, rtc_write_memory },
};

static const struct rtc_reg *rtc_reg_of(unsigned reg)
{
	const struct rtc_reg *row = rtc_regs;
	while (row->last < reg)
		row++;
	return row;
}

/* Port 0 selects (and is not read back), port 1 is the register selected. */
static uint8_t rtc_read_port(void *ctx, unsigned port)
{
	struct rtc *r = ctx;
	if (port == 0)
		return 0xff;
	mutex_lock(&r->lock);
	uint8_t v = rtc_reg_of(r->index)->read(r, r->index);
	mutex_unlock(&r->lock);
	return v;
}

static void rtc_write_port(void *ctx, unsigned port, uint8_t v)
{
	struct rtc *r = ctx;
	mutex_lock(&r->lock);
	if (port == 0)
		r->index = v % RTC_BYTES; /* bit 7 masks NMI, which we have none of */
	else
		rtc_reg_of(r->index)->write(r, r->index, v);
	mutex_unlock(&r->lock);
}

static void rtc_read(void *ctx, uint64_t offset, void *data, unsigned len)
{
	byte_io_read(ctx, offset, data, len, rtc_read_port);
}

static void rtc_write(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	byte_io_write(ctx, offset, data, len, rtc_write_port);
}

const struct bus_ops rtc_bus_ops = {
	.name = "rtc",
	.read = rtc_read,
	.write = rtc_write,
};

/* --- life --- */

static void rtc_put_size(struct rtc *r, unsigned reg, uint64_t v, unsigned bytes)
{
	v = min_u64(v, (1ull << 8 * bytes) - 1);
	for (unsigned i = 0; i < bytes; i++)
		r->cmos[reg + i] = (uint8_t)(v >> 8 * i);
}

static void rtc_put_sizes(struct rtc *r)
{
	uint64_t low = r->cfg.low_ram_bytes, above_1m = low > MIB ? low - MIB : 0;
	rtc_put_size(r, RTC_BASE_MEMORY, min_u64(low / KIB, 640), 2);
	rtc_put_size(r, RTC_EXT_MEMORY, above_1m / KIB, 2);
	rtc_put_size(r, RTC_EXT_MEMORY2, above_1m / KIB, 2);
	rtc_put_size(r, RTC_MEMORY_16M, low > 16 * MIB ? (low - 16 * MIB) / (64 * KIB) : 0, 2);
	rtc_put_size(r, RTC_MEMORY_4G, r->cfg.high_ram_bytes / (64 * KIB), 3);
	r->cmos[RTC_EQUIPMENT] = RTC_EQUIPMENT_FPU;
}

int rtc_create(struct rtc **out, const struct rtc_config *cfg)
{
	struct rtc *r = aligned_alloc(alignof(struct rtc), sizeof(*r));
	if (!r)
		return -ENOMEM;
	memset(r, 0, sizeof(*r));
	int err = notifier_init(&r->stopped);
	if (err) {
		free(r);
		return err;
	}
	r->cfg = *cfg;
	if (!r->cfg.now_ns)
		r->cfg.now_ns = rtc_realtime;
	r->cmos[RTC_A] = RTC_A_DEFAULT;
	r->cmos[RTC_B] = RTC_B_24H;
	rtc_put_sizes(r);
	r->seen_ns = rtc_now(r);
	r->timer.done = rtc_timer_done;
	r->msg.fn = rtc_on_msg;
	mutex_init(&r->lock);
	*out = r;
	return 0;
}

void rtc_destroy(struct rtc *r)
{
	if (!r)
		return;
	mutex_lock(&r->lock);
	r->is_stopping = true;
	rtc_post(r);
	mutex_unlock(&r->lock);
	if (r->cfg.reactor)
		(void)rendezvous_wait(&r->stopped, RENDEZVOUS_FOREVER);
	notifier_fini(&r->stopped);
	mutex_fini(&r->lock);
	free(r);
}
