/* pulse.c - see pulse_priv.h. */
#include "pulse_priv.h"

void pulse_ask(struct pulse *p, uint64_t cpu_ns)
{
	*p = (struct pulse){ .cpu_ns = cpu_ns };
}

bool pulse_is_lost(struct pulse *p, uint64_t cpu_ns)
{
	uint64_t ran_ns = cpu_ns > p->cpu_ns ? cpu_ns - p->cpu_ns : 0;
	p->cpu_ns = cpu_ns;
	p->ran_ns += ran_ns;
	if (ran_ns >= PULSE_MOMENT_NS)
		p->blocked = 0;
	else if (ran_ns)
		p->blocked++;
	return p->ran_ns >= PULSE_RAN_NS || p->blocked >= PULSE_LOOKS;
}
