/*
 * spsc.pml - sync/spsc.c: two counters, each side remembering what it last saw of the other's.
 *
 * Checked: no place is written before it was read or read before it was written; order; nobody stuck.
 * BROKEN variants, each of which must be caught: the counter is moved before the place is done with.
 */
#define CAPACITY 2
#define ITEMS    5

byte items[CAPACITY];
byte head, tail;

active proctype producer()
{
	byte n = 1, head_seen;
	do
	:: n > ITEMS -> break
	:: n <= ITEMS && tail - head_seen < CAPACITY ->
#ifdef BROKEN_PUSH_EARLY
		tail++;
		items[(tail - 1) % CAPACITY] = n;
#else
		assert(items[tail % CAPACITY] == 0);
		items[tail % CAPACITY] = n;
		tail++;
#endif
		n++
	:: n <= ITEMS && tail - head_seen >= CAPACITY ->
		head != head_seen;
		head_seen = head
	od
}

active proctype consumer()
{
	byte next = 1, tail_seen, got;
	do
	:: next > ITEMS -> break
	:: next <= ITEMS && head == tail_seen ->
		tail != tail_seen;
		tail_seen = tail
	:: next <= ITEMS && head != tail_seen ->
#ifdef BROKEN_POP_EARLY
		head++;
		got = items[(head - 1) % CAPACITY];
		items[(head - 1) % CAPACITY] = 0;
#else
		got = items[head % CAPACITY];
		items[head % CAPACITY] = 0; /* marks it read, for the producer's assertion */
		head++;
#endif
		assert(got == next);
		next++
	od
}
