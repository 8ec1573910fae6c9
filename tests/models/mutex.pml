/*
 * mutex.pml - sync/mutex.c: hand-over between threads that lock exclusively or shared, with and
 * without a deadline. One step here is one atomic operation there; a compare-and-exchange that fails
 * is a step not taken yet. Patience ends after one wake-up in vain.
 *
 * Checked: exclusion; nobody is stuck (a wake-up lost would be), not even where a reader waits for
 * another reader; no bit is left in the end.
 * BROKEN variants, each of which must be caught: a woken thread that gives up keeps the wake-up to
 * itself; one that queues again does; a thread that leaves the queue does not mend the bits; an
 * unlock by the last reader wakes nobody; a newcomer is not held off by a long wait that ends in
 * nothing (its mark stays); a reader that gets the lock leaves other readers in the queue.
 */
#ifndef THREADS
#define THREADS 3
#endif
#ifndef ROUNDS
#ifdef BROKEN_READER_ALONE /* somebody must be woken and not have run when the lock is free again */
#define ROUNDS 2
#else
#define ROUNDS 1
#endif
#endif
#define PATIENCE 1

/* the word */
bool locked, has_waiters, waking, spin, writer_waiting, long_wait;
byte readers;
/* under spin */
byte queue[THREADS];
byte nr, nr_writers;
bool queued[THREADS], shared[THREADS];
/* of each sleeper */
bool woken[THREADS];
byte done;

/* mutex_admits() */
#define ADMITS (has_waiters && !locked && (readers == 0 || (!writer_waiting && !long_wait)))

inline queue_back(id)
{
	d_step { queue[nr] = id; nr++; queued[id] = true; nr_writers = nr_writers + !shared[id] }
}

inline queue_front(id)
{
	d_step {
		k = nr;
		do
		:: k > 0 -> queue[k] = queue[k - 1]; k--
		:: else -> break
		od;
		queue[0] = id; nr++; queued[id] = true; nr_writers = nr_writers + !shared[id]; k = 0
	}
}

inline unqueue(id)
{
	d_step {
		k = 0;
		do
		:: queue[k] != id -> k++
		:: else -> break
		od;
		do
		:: k + 1 < nr -> queue[k] = queue[k + 1]; k++
		:: else -> break
		od;
		nr--; queue[nr] = 0; queued[id] = false; nr_writers = nr_writers - !shared[id]; k = 0
	}
}

/* mutex_close_queue() */
inline close_queue(clear_long)
{
	atomic {
		spin = false;
		has_waiters = has_waiters && nr > 0;
		writer_waiting = writer_waiting && nr_writers > 0;
		long_wait = long_wait && !(clear_long)
	}
}

/* mutex_wake_next() */
inline wake_next()
{
	if
	:: atomic { !has_waiters || waking -> skip }
	:: atomic { has_waiters && !waking && !spin -> spin = true; waking = true };
		first = queue[0];
		d_step {
			j = 0;
			do
			:: j < THREADS ->
				to_wake[j] = queued[j] && (j == first || (shared[first] && shared[j]));
				j++
			:: else -> break
			od;
			j = 0
		};
		do
		:: j < THREADS && to_wake[j] -> unqueue(j); j++
		:: j < THREADS && !to_wake[j] -> j++
		:: else -> break
		od;
		close_queue(false);
		j = 0;
		do
		:: j < THREADS && to_wake[j] -> to_wake[j] = false; woken[j] = true; j++
		:: j < THREADS && !to_wake[j] -> j++
		:: else -> j = 0; break
		od;
		first = 0
	fi
}

#define BLOCKED \
	(locked || (!shared[id] && readers > 0) || (shared[id] && writer_waiting && !is_old) || \
	 (long_wait && !is_long))

proctype thread(byte id)
{
	bool timed, is_old, is_long, got, admits;
	byte round, wakes, k, j, first;
	bool to_wake[THREADS];
	do
	:: round == ROUNDS -> break
	:: else ->
		atomic {
			if
			:: shared[id] = true
			:: shared[id] = false
			fi;
			if
			:: timed = true
			:: timed = false
			fi
		};
		wakes = 0; is_old = false; is_long = false;
try:		if
		:: atomic { !BLOCKED ->
			locked = !shared[id]; readers = readers + shared[id];
			waking = waking && !is_old; long_wait = long_wait && !is_long;
#ifndef BROKEN_READER_ALONE
			got = ADMITS
#endif
			};
			goto got_it
		:: atomic { BLOCKED && timed && wakes > 0 ->
#ifndef BROKEN_KEEPS_LONG
			long_wait = long_wait && !is_long;
#endif
#ifdef BROKEN_KEEPS_WAKE
			admits = false
#else
			waking = waking && !is_old;
			admits = ADMITS
#endif
			};
			goto passed_on
		:: atomic { BLOCKED && !spin ->
			spin = true; has_waiters = true;
#ifndef BROKEN_QUEUES_WITH_WAKE
			waking = waking && !is_old;
#endif
			long_wait = (long_wait && !is_long) || wakes >= PATIENCE;
			writer_waiting = writer_waiting || !shared[id] }
		fi;
		woken[id] = false;
		if
		:: wakes >= PATIENCE -> queue_front(id); is_long = true
		:: else -> queue_back(id)
		fi;
		close_queue(false);
		is_old = true;
		if
		:: atomic { woken[id] -> woken[id] = false }; wakes = 1; goto try
		:: timed -> skip
		fi;
		atomic { !spin -> spin = true };
		if
		:: queued[id] ->
			unqueue(id);
#if defined(BROKEN_LEAVES_BITS)
			spin = false;
#elif defined(BROKEN_KEEPS_LONG)
			close_queue(false);
#else
			close_queue(is_long);
#endif
			admits = ADMITS
		:: else ->
			close_queue(false);
			atomic { woken[id] -> woken[id] = false };
			wakes = 1;
			goto try
		fi;
passed_on:	if
		:: admits -> admits = false; wake_next()
		:: else
		fi;
		goto next;
got_it:		assert(shared[id] -> !locked : (locked && readers == 0));
		if
		:: got -> got = false; wake_next()
		:: else
		fi;
		if /* one who holds it shared may wait for a reader that no writer stands in the way of */
		:: skip
		:: shared[id] -> (nr == nr_writers || nr_writers > 0)
		fi;
		if
		:: atomic { !shared[id] -> locked = false; got = has_waiters && !waking }
		:: atomic { shared[id] -> readers--; got = has_waiters && !waking && readers == 0 }
#ifdef BROKEN_LAST_READER
			; got = false
#endif
		fi;
		if
		:: got -> got = false; wake_next()
		:: else
		fi;
next:		round++
	od;
	done++
}

init
{
	byte i;
	atomic {
		do
		:: i < THREADS -> run thread(i); i++
		:: else -> break
		od
	};
	done == THREADS;
	assert(!locked && !readers && !has_waiters && !waking && !spin && !writer_waiting && !long_wait);
	assert(nr == 0 && nr_writers == 0)
}
