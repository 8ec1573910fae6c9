/* coalesce.c - see dev/coalesce.h. */
#include "dev/coalesce.h"
#include "base/num.h"

#define COALESCE_PAUSE_MIN 4u
#define COALESCE_PAUSE_MAX 64u

bool coalesce_holds(struct coalesce *c, uint64_t shown, uint64_t now_ns)
{
	if (!c->is_holding) {
		if (c->skip) {
			c->skip--;
			return false;
		}
		c->is_holding = true;
		c->since_ns = now_ns;
		c->first = shown;
	}
	return shown - c->told < COALESCE_MAX && now_ns - c->since_ns < COALESCE_MAX_NS;
}

void coalesce_sent(struct coalesce *c, uint64_t shown)
{
	c->told = shown;
	if (!c->is_holding)
		return;
	c->is_holding = false;
	if (shown != c->first)
		c->pause = 0;
	else
		c->pause = min_u32(c->pause ? 2 * c->pause : COALESCE_PAUSE_MIN,
				   COALESCE_PAUSE_MAX);
	c->skip = c->pause;
}
