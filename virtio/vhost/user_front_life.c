/* user_front_life.c - see front_priv.h: servers come, are followed, die, and are replaced. */
#include <errno.h>
#include <string.h>
#include "base/err.h"
#include "base/log.h"
#include "base/num.h"
#include "front_priv.h"

#define LIFE_MAX_DEATHS   8    /* in a row without a completed request: then no more */
#define LIFE_QUIET_S      60   /* without a death: those before are not "in a row" with the next */
#define LIFE_PAUSE_MIN_MS 10   /* before a further try to connect: doubles ... */
#define LIFE_PAUSE_MAX_MS 5000 /* ... up to this */
#define LIFE_RESET_MS     1000 /* between tries that resets of the driver make us do */
#define LIFE_LOOK_MIN_MS  1000 /* between two looks at whether rings move: doubles ... */
#define LIFE_LOOK_MAX_MS  8000 /* ... while nothing moves */

static uint64_t life_after_ms(uint64_t now, unsigned ms)
{
	return now + ms * NSEC_PER_MSEC;
}

static void life_publish(struct front *f)
{
	mutex_lock(&f->lock);
	f->info.is_connected = front_is_connected(f) && f->link.is_settled;
	f->info.is_given_up = f->is_given_up;
	f->info.deaths = f->deaths;
	if (front_is_connected(f)) {
		f->info.features = f->link.features;
		f->info.protocol = f->link.protocol;
	}
	mutex_unlock(&f->lock);
}

/* --- loss --- */

static bool life_any_begun(const struct front *f)
{
	for (uint16_t i = 0; i < f->dev.nr_queues; i++)
		if (f->q[i].is_begun)
			return true;
	return false;
}

static void life_made_progress(struct front *f)
{
	f->deaths = f->losses = 0;
	f->pause_ms = 0;
	f->look_ms = LIFE_LOOK_MIN_MS;
}

/* Whoever dies now and then is replaced for ever, whatever it did meanwhile. */
static void life_forgive(struct front *f)
{
	bool is_quiet = f->cfg.clock_ns() - f->last_loss_ns > LIFE_QUIET_S * NSEC_PER_SEC;
	if (!f->losses || f->is_hopeless || !is_quiet)
		return;
	f->deaths = f->losses = 0;
	f->pause_ms = 0;
	life_publish(f);
}

/* Hang up; what the rings were stays. */
static void life_hang_up(struct front *f)
{
	front_link_close(f);
	if (f->cfg.kill)
		f->cfg.kill(f->cfg.ctx);
	f->is_quiet = false;
	if (!f->lost_ns && life_any_begun(f))
		f->lost_ns = clock_ns();
	for (uint16_t i = 0; i < f->dev.nr_queues; i++)
		f->q[i].is_live = false;
}

static void life_pause(struct front *f)
{
	unsigned twice = f->pause_ms ? 2 * f->pause_ms : LIFE_PAUSE_MIN_MS;
	f->pause_ms = (unsigned)min_u32(twice, LIFE_PAUSE_MAX_MS);
	f->next_try_ns = life_after_ms(clock_ns(), f->pause_ms);
}

/* Unless the driver has reset it since: what was wrong is over then, and it may be up again. */
static void life_ask_for_reset(struct front *f, const char *why)
{
	mutex_lock(&f->lock);
	bool is_over = f->wants_reset;
	mutex_unlock(&f->lock);
	if (!is_over)
		vdev_needs_reset(&f->dev, why);
}

static void life_give_up(struct front *f, const char *why)
{
	f->is_hopeless = true;
	life_publish(f);
	life_ask_for_reset(f, why);
}

void front_lost(struct front *f, int err)
{
	bool is_waiting;
	log_guest(&f->dev.log_rate, "%s: lost its server: %s", f->dev.id,
		  err == -ECONNRESET ? "it hung up" : strerror(-err));
	if (front_rings_moved(f, &is_waiting))
		life_made_progress(f);
	life_forgive(f);
	f->last_loss_ns = f->cfg.clock_ns();
	/* one that had nothing to do proves nothing, if it could be told everything */
	f->deaths += front_rings_owe(f) || !f->link.is_settled;
	life_hang_up(f);
	/* nobody can end it, so nobody will ever know more: a stop need not wait for others */
	f->is_quiet = err == -ETIMEDOUT && !f->cfg.kill;
	if (f->losses++)
		life_pause(f);
	else
		f->next_try_ns = 0;
	life_publish(f);
	if (f->deaths >= LIFE_MAX_DEATHS)
		life_give_up(f, "its servers die before they have done anything");
}

/* --- connecting --- */

int front_take_server(struct front *f, int sock)
{
	f->link.sock = sock;
	f->look_ms = LIFE_LOOK_MIN_MS;
	f->next_look_ns = life_after_ms(clock_ns(), f->look_ms);
	return front_hello(f);
}

static bool life_is_due(const struct front *f, bool is_urgent)
{
	uint64_t now = clock_ns();
	return now >= f->next_try_ns ||
	       (is_urgent && now >= life_after_ms(f->last_try_ns, LIFE_PAUSE_MIN_MS));
}

/* The one server that comes after the last: it proves that nobody writes to the guest any more. */
static void life_end(struct front *f, int sock)
{
	fd_close(sock);
	if (sock >= 0 && f->cfg.kill)
		f->cfg.kill(f->cfg.ctx);
	f->is_given_up = true;
	life_publish(f);
}

static void life_connect(struct front *f)
{
	f->last_try_ns = clock_ns();
	int sock = f->cfg.connect(f->cfg.ctx);
	if (sock < 0 && !f->cfg.kill)
		sock = -EAGAIN; /* whatever is wrong, somebody may mend it */
	f->is_quiet = sock != -EBUSY;
	if (sock == -EBUSY || (sock == -EAGAIN && !f->is_hopeless)) {
		life_pause(f);
		return;
	}
	if (f->is_hopeless || sock < 0) {
		life_end(f, sock);
		if (!f->is_hopeless)
			life_give_up(f, "there is no server for it any more");
		return;
	}
	int err = front_take_server(f, sock);
	f->link.owes_config = !err; /* it may have another one */
	if (err)
		front_lost(f, err);
}

/* --- following the wishes --- */

static int life_refresh_config(struct front *f)
{
	uint8_t now[VHOST_USER_MAX_CONFIG];
	uint32_t bytes = f->dev.config_bytes;
	f->link.owes_config = false;
	if (f->cfg.config || !bytes || !front_has(f, VHOST_USER_PROTOCOL_F_CONFIG))
		return 0;
	int err = front_read_config(f, bytes, now);
	if (err)
		return err;
	vdev_config_begin(&f->dev);
	mutex_lock(&f->lock);
	if (f->has_choice) /* perhaps on its way only */
		now[FRONT_WCE] = f->config[FRONT_WCE];
	bool is_other = memcmp(f->config, now, bytes);
	memcpy(f->config, now, bytes);
	mutex_unlock(&f->lock);
	vdev_config_end(&f->dev, is_other);
	return 0;
}

static int life_write_config(struct front *f)
{
	uint8_t data[VHOST_USER_MAX_CONFIG];
	mutex_lock(&f->lock);
	uint32_t from = f->dirty_from, len = f->dirty_to - from;
	memcpy(data, f->wanted + from, len);
	f->dirty_from = f->dirty_to = 0;
	mutex_unlock(&f->lock);
	if (!len || !front_has(f, VHOST_USER_PROTOCOL_F_CONFIG))
		return 0;
	f->link.owes_config = true; /* what became of it */
	return front_write_config(f, from, data, len);
}

/* A wish is granted once: what comes next is in the next turn's. */
static void life_ring_done(struct front *f, struct front_wishes *w, uint16_t idx)
{
	w->q[idx] = FRONT_OFF;
	front_ring_done(f, idx);
}

static int life_follow_ring(struct front *f, struct front_wishes *w, uint16_t idx)
{
	if (w->q[idx] == FRONT_STOP) {
		int err = front_ring_finish(f, idx);
		if (!err)
			life_ring_done(f, w, idx);
		return err;
	}
	if (w->q[idx] != FRONT_RUN || f->q[idx].is_live)
		return 0;
	int err = front_ring_start(f, idx);
	if (err != -ENOTRECOVERABLE)
		return err;
	/* the server is fine; stops of all rings follow from this */
	life_ask_for_reset(f, "its server died, and nobody knows what it had in flight");
	f->has_news = true;
	return 0;
}

static void life_settled(struct front *f)
{
	bool is_successor = !f->link.is_settled && f->has_had;
	f->link.is_settled = f->has_had = true;
	uint64_t outage = f->lost_ns ? clock_ns() - f->lost_ns : 0;
	f->lost_ns = 0;
	mutex_lock(&f->lock);
	f->info.restarts += is_successor;
	if (outage) {
		f->info.outages++;
		f->info.last_ns = outage;
		f->info.longest_ns = max_u64(outage, f->info.longest_ns);
	}
	mutex_unlock(&f->lock);
	life_publish(f);
}

static int life_follow(struct front *f, struct front_wishes *w)
{
	int err = 0;
	for (uint16_t i = 0; !err && i < f->dev.nr_queues; i++)
		err = life_follow_ring(f, w, i);
	if (!err && (!f->link.is_settled || f->lost_ns))
		life_settled(f);
	if (!err)
		err = life_write_config(f);
	if (!err && f->link.owes_config)
		err = life_refresh_config(f);
	return err;
}

/*
 * Rings that are to stop while nobody has them, and nobody comes at once: what was in flight ends
 * with the reset that the driver waits for. But not while I/O may still reach the guest's memory.
 */
static void life_abandon(struct front *f, struct front_wishes *w)
{
	bool is_free = f->is_given_up || f->is_quiet;
	for (uint16_t i = 0; i < f->dev.nr_queues; i++)
		if (w->q[i] == FRONT_STOP && (is_free || !f->q[i].is_begun))
			life_ring_done(f, w, i);
	if (!life_any_begun(f))
		f->lost_ns = 0;
}

/* --- liveness --- */

/* A server with work that gets nothing done must at least answer. */
static int life_look(struct front *f)
{
	bool is_waiting;
	uint64_t features;
	if (clock_ns() < f->next_look_ns)
		return 0;
	life_forgive(f);
	if (front_rings_moved(f, &is_waiting)) {
		life_made_progress(f);
		is_waiting = false;
	} else {
		f->look_ms = min_u32(2 * f->look_ms, LIFE_LOOK_MAX_MS);
	}
	f->next_look_ns = life_after_ms(clock_ns(), f->look_ms);
	return is_waiting ? front_get_u64(f, VHOST_USER_GET_FEATURES, &features) : 0;
}

/* --- one turn --- */

static void life_hope_again(struct front *f)
{
	if (!f->is_hopeless)
		return;
	f->next_try_ns = life_after_ms(f->last_try_ns, LIFE_RESET_MS);
	f->is_hopeless = f->is_given_up = false;
	life_made_progress(f);
	life_publish(f);
}

static int life_reset(struct front *f)
{
	life_hope_again(f);
	f->is_broken = false; /* it was by a ring that has stopped since */
	if (f->cfg.forget)
		f->cfg.forget(f->cfg.forget_ctx);
	return front_is_connected(f) ? front_reset_server(f) : 0;
}

static bool life_must_kill(const struct front *f)
{
	return f->cfg.has_no_stop && f->cfg.kill &&
	       front_has(f, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD);
}

/* Hanging up first would have it stop its queues. */
static void life_kill(struct front *f)
{
	uint64_t until = life_after_ms(clock_ns(), f->cfg.answer_ms);
	int err = 0;
	f->cfg.kill(f->cfg.ctx);
	while (!err && clock_ns() < until)
		err = front_sleep(f, (int)f->cfg.answer_ms);
}

/* The operator wants another one: in order, if this one can still do that. */
static void life_replace(struct front *f)
{
	int err = 0;
	life_hope_again(f);
	life_made_progress(f); /* the deaths before are not the next one's */
	life_publish(f);
	f->next_try_ns = 0;
	if (!front_is_connected(f))
		return;
	bool is_killed = life_must_kill(f);
	for (uint16_t i = 0; !err && !is_killed && i < f->dev.nr_queues; i++)
		if (f->q[i].is_live)
			err = front_ring_halt(f, i);
	if (is_killed)
		life_kill(f);
	if (err)
		log_warn("%s: its server does not stop in order: %s", f->dev.id, strerror(-err));
	life_hang_up(f);
}

static int life_timeout_ms(const struct front *f, const struct front_wishes *w)
{
	uint64_t now = clock_ns(), until = f->next_look_ns;
	if (f->has_news)
		return 0;
	if (!front_is_connected(f)) {
		if (f->is_given_up)
			return -1;
		until = f->next_try_ns;
		if (w->wants_stop)
			until = min_u64(until, life_after_ms(f->last_try_ns, LIFE_PAUSE_MIN_MS));
	} else if (!life_any_begun(f)) {
		return -1;
	}
	return until <= now ? 0 : (int)((until - now) / NSEC_PER_MSEC + 1);
}

int front_turn(struct front *f, struct front_wishes *w)
{
	int err = w->reset ? life_reset(f) : 0;
	if (!err && w->restart)
		life_replace(f);
	if (!front_is_connected(f) && !f->is_given_up && life_is_due(f, w->wants_stop))
		life_connect(f);
	if (!err && front_is_connected(f))
		err = life_follow(f, w);
	if (!err && front_is_connected(f))
		err = life_look(f);
	if (err)
		front_lost(f, err);
	if (!front_is_connected(f))
		life_abandon(f, w);
	if (f->is_broken) {
		f->is_broken = false;
		life_ask_for_reset(f, "its server says that a queue is broken");
	}
	return life_timeout_ms(f, w);
}
