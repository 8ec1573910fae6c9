/*
 * notify.pml - notification arm-and-recheck (sync/eventcount.c, the sleep of iouring/reactor.c, a
 * virtqueue's kick): the producer publishes, then signals only if it finds the consumer asking to
 * be told; the consumer asks, looks once more, then sleeps. Stores wait in a buffer, as on x86,
 * until a fence or until the machine feels like it.
 *
 * Checked: the consumer gets everything and nobody is stuck (no invalid end state).
 * BROKEN variants, each of which must get stuck: no fence here, no fence there, no second look.
 */
#define ITEMS 3

byte avail;             /* in memory */
bool armed, kick;
bool p_pending;         /* the producer's buffered store to avail: avail + 1 */
bool c_pending, c_value; /* the consumer's buffered store to armed */

active proctype store_buffers()
{
end:	do
	:: atomic { p_pending -> avail++; p_pending = false }
	:: atomic { c_pending -> armed = c_value; c_pending = false }
	od
}

active proctype producer()
{
	byte n;
	do
	:: n < ITEMS ->
		atomic { !p_pending -> p_pending = true }
#ifndef BROKEN_NO_FENCE_PRODUCER
		!p_pending;
#endif
		if
		:: armed -> atomic { !p_pending -> kick = true } /* a system call, so a fence */
		:: else
		fi;
		n++
	:: else -> break
	od
}

inline set_armed(v)
{
	atomic { !c_pending -> c_pending = true; c_value = v }
}

active proctype consumer()
{
	byte seen;
	do
	:: seen == ITEMS -> break
	:: seen < ITEMS && seen < avail -> seen++
	:: seen < ITEMS && seen >= avail ->
		set_armed(true);
#ifndef BROKEN_NO_FENCE_CONSUMER
		!c_pending;
#endif
#ifndef BROKEN_NO_SECOND_LOOK
		if
		:: seen < avail
		:: else ->
#endif
			atomic { !c_pending && kick -> kick = false }
#ifndef BROKEN_NO_SECOND_LOOK
		fi;
#else
		;
#endif
		set_armed(false)
	od;
	assert(seen == ITEMS)
}
