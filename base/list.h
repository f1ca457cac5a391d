/* An intrusive, circular, doubly linked list. The list owns nothing; a node is in one list at most.
 * A node that is in no list points at itself, so list_remove() is safe to repeat. */
#ifndef WEIR_BASE_LIST_H
#define WEIR_BASE_LIST_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

/* Whether the node is in a list. */
static inline bool list_linked(const struct list *node)
{
	return node->next != node;
}

static inline void list_append(struct list *l, struct list *node)
{
	node->prev = l->prev;
	node->next = l;
	l->prev->next = node;
	l->prev = node;
}

static inline void list_prepend(struct list *l, struct list *node)
{
	list_append(l->next, node);
}

static inline void list_remove(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

/* The first node, removed; NULL when there is none. */
static inline struct list *list_pop(struct list *l)
{
	struct list *first = l->next;

	if (first == l)
		return NULL;
	list_remove(first);
	return first;
}

/* Moves all nodes of `from` to the end of `to`; `from` is empty afterwards. */
static inline void list_move_all(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

/* The body may remove `node` itself, and no other. */
#define LIST_EACH(node, head)                                                                                          \
	for (struct list *node = (head)->next, *node##_next = node->next; node != (head);                              \
	     node = node##_next, node##_next = node->next)

#endif
