/*
 * list.h - intrusive doubly linked list.
 *
 * Layer:   base
 * Threads: none of its own: the list's owner excludes.
 * Errors:  none. Removing a node that is on no list is a mistake of ours.
 * Spec:    none.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H
#include <stdbool.h>
#include "base/compiler.h"

/* A head and a node are the same thing. A node outside any list is zeroed or points to itself. */
struct list {
	struct list *next, *prev;
};

#define LIST_INIT(l)                                                                               \
	{                                                                                          \
		&(l), &(l)                                                                         \
	}

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_is_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_push_back(struct list *head, struct list *n)
{
	n->prev = head->prev;
	n->next = head;
	head->prev->next = n;
	head->prev = n;
}

static inline void list_push_front(struct list *head, struct list *n)
{
	list_push_back(head->next, n);
}

static inline void list_remove(struct list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}

/* First node taken off @head, or NULL. */
static inline struct list *list_pop_front(struct list *head)
{
	struct list *n = head->next;
	if (n == head)
		return NULL;
	list_remove(n);
	return n;
}

#define list_for_each(n, head) for (struct list *n = (head)->next; n != (head); n = n->next)
/* As above; the body may remove @n. */
#define list_for_each_safe(n, head)                                                                \
	for (struct list *n = (head)->next, *n##_next = n->next; n != (head);                      \
	     n = n##_next, n##_next = n->next)

#endif
