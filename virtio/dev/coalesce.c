/* coalesce.c - see dev/coalesce.h. */
#include "dev/coalesce.h"
#include "base/num.h"

#define COALESCE_PAUSE_MIN 4u
#define COALESCE_PAUSE_MAX 64u

static void coalesce_begin(struct coalesce *c, uint64_t shown, uint64_t now_ns)
{
	c->is_holding = true;
	c->since_ns = now_ns;
	c->first = shown;
	c->is_single = c->skip > 0;
	c->delay_ns = 0;
	if (c->is_single) {
		c->skip--;
		c->delay_ns = moment_delay_ns(&c->moment, now_ns);
	}
}

uint64_t coalesce_until(struct coalesce *c, uint64_t shown, uint64_t now_ns)
{
	if (!c->is_holding)
		coalesce_begin(c, shown, now_ns);
	bool is_single = c->is_single && shown == c->first;
	uint64_t end_ns = c->since_ns + (is_single ? c->delay_ns : COALESCE_MAX_NS);
	if (shown - c->told >= COALESCE_MAX || now_ns >= end_ns)
		return 0;
	return is_single ? end_ns : min_u64(end_ns, now_ns + COALESCE_IDLE_NS);
}

void coalesce_sent(struct coalesce *c, uint64_t shown)
{
	c->told = shown;
	if (!c->is_holding)
		return;
	c->is_holding = false;
	if (shown != c->first)
		c->pause = c->skip = 0;
	else if (!c->is_single)
		c->skip = c->pause = min_u32(c->pause ? 2 * c->pause : COALESCE_PAUSE_MIN,
					     COALESCE_PAUSE_MAX);
}
