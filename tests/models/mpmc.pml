/*
 * mpmc.pml - sync/mpmc.c: tickets, and cells that carry the turn they are ready for. Two producers
 * and two consumers on two cells.
 *
 * Checked: nobody touches a cell out of turn; each item comes out once; nobody is stuck.
 * BROKEN variants, each of which must be caught: the turn is passed on before the cell is done with,
 * by a push, by a pop; the ticket is drawn in two steps.
 */
#define CAPACITY 2
#define EACH     2
#define SIDES    2

byte turn[CAPACITY];
byte item[CAPACITY];
byte head, tail;
byte seen[SIDES * EACH + 1];
byte taken;

/* Draw a ticket of counter c once its cell is at the turn. A failed exchange is a later try. */
#ifdef BROKEN_TWO_STEPS
#define DRAW(c, offset, at) \
	at = c; \
	turn[at % CAPACITY] == at + offset -> c = at + 1
#else
#define DRAW(c, offset, at) \
	atomic { turn[c % CAPACITY] == c + offset -> at = c; c++ }
#endif

proctype producer(byte p)
{
	byte i, at;
	do
	:: i == EACH -> break
	:: else ->
		DRAW(tail, 0, at);
#ifdef BROKEN_PUSH_EARLY
		turn[at % CAPACITY] = at + 1;
		item[at % CAPACITY] = 1 + p * EACH + i;
#else
		assert(item[at % CAPACITY] == 0);
		item[at % CAPACITY] = 1 + p * EACH + i;
		turn[at % CAPACITY] = at + 1;
#endif
		i++
	od
}

proctype consumer()
{
	byte i, at, got;
	do
	:: i == EACH -> break
	:: else ->
		DRAW(head, 1, at);
#ifdef BROKEN_POP_EARLY
		turn[at % CAPACITY] = at + CAPACITY;
		got = item[at % CAPACITY];
		item[at % CAPACITY] = 0;
#else
		got = item[at % CAPACITY];
		item[at % CAPACITY] = 0; /* marks it read, for the producers' assertion */
		turn[at % CAPACITY] = at + CAPACITY;
#endif
		atomic { assert(got != 0 && seen[got] == 0); seen[got] = 1; taken++ };
		i++
	od
}

init
{
	atomic {
		turn[1] = 1;
		run producer(0);
		run producer(1);
		run consumer();
		run consumer()
	};
	taken == SIDES * EACH
}
