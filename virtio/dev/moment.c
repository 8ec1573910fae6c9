/* moment.c - see dev/moment.h. */
#include "dev/moment.h"
#include "base/compiler.h"
#include "base/num.h"

#define MOMENT_REST_MIN 256u
#define MOMENT_REST_MAX (16 * 1024u)
#define MOMENT_MAX_NS   100000ull /* beyond, the driver has more to do than to wait for us */
#define MOMENT_MARGIN   16u       /* a longer delay has to win by this part of the time */

static const uint16_t moment_delays_ns[] = { 0, 2000, 4000, 8000 };

static void moment_next_rival(struct moment *m)
{
	m->wins = 0;
	do {
		m->rival = (uint8_t)((m->rival + 1) % ARRAY_SIZE(moment_delays_ns));
	} while (m->rival == m->level);
}

static void moment_rest(struct moment *m, uint32_t results)
{
	m->left = m->rest = results;
	moment_next_rival(m);
}

static void moment_judge(struct moment *m)
{
	/* medians: a few requests that come very late must not decide */
	uint64_t ours_ns = median_u64(m->gap_ns[0], MOMENT_SAMPLES);
	uint64_t its_ns = median_u64(m->gap_ns[1], MOMENT_SAMPLES);
	bool is_longer = m->rival > m->level;
	uint64_t margin_ns = is_longer ? ours_ns / MOMENT_MARGIN : 0;
	bool wins = its_ns < MOMENT_MAX_NS && its_ns + margin_ns <= ours_ns;
	m->nr = 0;
	if (!wins) {
		moment_rest(m, min_u32(2 * m->rest, MOMENT_REST_MAX));
	} else if (is_longer && !m->wins) {
		m->wins++; /* once more, at once */
	} else {
		m->level = m->rival;
		moment_rest(m, MOMENT_REST_MIN);
	}
}

uint64_t moment_delay_ns(struct moment *m, uint64_t now_ns)
{
	if (unlikely(!m->rest))
		moment_rest(m, MOMENT_REST_MIN);
	m->is_timed = false;
	if (likely(m->left)) {
		m->left--;
		return moment_delays_ns[m->level];
	}
	m->is_timed = true;
	m->shown_ns = now_ns;
	return moment_delays_ns[m->nr % 2 ? m->rival : m->level];
}

void moment_came(struct moment *m, uint64_t now_ns)
{
	m->is_timed = false;
	m->gap_ns[m->nr % 2][m->nr / 2] = min_u64(now_ns - m->shown_ns, MOMENT_MAX_NS);
	if (++m->nr == 2 * MOMENT_SAMPLES)
		moment_judge(m);
}
