/* coalesce.c - see dev/coalesce.h. */
#include "dev/coalesce.h"
#include "base/num.h"

#define COALESCE_PAUSE_MIN 4u
#define COALESCE_PAUSE_MAX 64u

bool coalesce_holds(struct coalesce *c, uint32_t nr, uint64_t now_ns)
{
	if (!c->nr) {
		if (c->skip) {
			c->skip--;
			return false;
		}
		c->since_ns = now_ns;
		c->first = nr;
	}
	c->nr += nr;
	return c->nr < COALESCE_MAX && now_ns - c->since_ns < COALESCE_MAX_NS;
}

void coalesce_sent(struct coalesce *c)
{
	if (!c->nr)
		return; /* it was not held */
	if (c->nr > c->first)
		c->pause = 0;
	else
		c->pause = min_u32(c->pause ? 2 * c->pause : COALESCE_PAUSE_MIN,
				   COALESCE_PAUSE_MAX);
	c->skip = c->pause;
	c->nr = 0;
}
