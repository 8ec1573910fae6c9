/*
 * mpsc.pml - sync/mpsc.c with a consumer that sleeps when a pop says empty: two producers, a stub, a
 * push in two steps. Node 0 is NULL, STUB the stub, the others carry their producer and number.
 *
 * Checked: each node comes out once, those of a producer in order; nobody is stuck; is_empty means
 * that no push is half done.
 * BROKEN variants, each of which must be caught: the wake-up goes out before the link; the consumer
 * takes the newest node although a push may hang behind it; the stub is not put back.
 */
#define PER_PRODUCER 2
#define NODES        6 /* NULL, stub, 2 x 2 */
#define STUB         1

byte next[NODES];
byte head = STUB, tail = STUB; /* newest, oldest */
byte half_done;                /* pushes between their two steps */
byte wakes;
byte got_of[2];

#define NODE(p, i) (2 + (p) * PER_PRODUCER + (i))

inline push(n, prev)
{
	next[n] = 0;
	atomic { prev = head; head = n; half_done++ };
	atomic { next[prev] = n; half_done-- }
}

proctype producer(byte p)
{
	byte i, prev;
	do
	:: i == PER_PRODUCER -> break
	:: else ->
#ifdef BROKEN_WAKE_EARLY
		next[NODE(p, i)] = 0;
		atomic { prev = head; head = NODE(p, i); half_done++ };
		wakes++;
		atomic { next[prev] = NODE(p, i); half_done-- };
#else
		push(NODE(p, i), prev);
		wakes++;
#endif
		i++
	od
}

inline take(n)
{
	assert(n > STUB);
	assert((n - 2) % PER_PRODUCER == got_of[(n - 2) / PER_PRODUCER]);
	got_of[(n - 2) / PER_PRODUCER]++
}

active proctype consumer()
{
	byte t, n, prev;
	atomic { run producer(0); run producer(1) };
again:
	do
	:: got_of[0] == PER_PRODUCER && got_of[1] == PER_PRODUCER -> break
	:: else ->
		t = tail;
		n = next[t];
		if
		:: t == STUB && n == 0 ->
			if
			:: atomic { head == STUB -> assert(half_done == 0) }
			:: else
			fi;
			goto sleep
		:: t == STUB && n != 0 -> tail = n; t = n; n = next[t]
		:: else
		fi;
		if
		:: n != 0 -> tail = n; take(t); goto again
		:: else
		fi;
#ifdef BROKEN_TAKE_LAST
		if
		:: t != head -> goto sleep
		:: else -> tail = STUB; next[STUB] = 0; head = STUB; take(t); goto again
		fi;
#else
		if
		:: t != head -> goto sleep
		:: else
		fi;
#ifndef BROKEN_NO_STUB
		push(STUB, prev);
#endif
		n = next[t];
		if
		:: n != 0 -> tail = n; take(t); goto again
		:: else -> goto sleep
		fi;
#endif
sleep:		atomic { wakes > 0 -> wakes = 0 }
	od
}
