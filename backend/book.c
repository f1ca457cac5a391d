/* The book of apps and backends. Main thread; what stands in an entry is read and changed by the workers' pools. */
#include "backend/book.h"

#include "base/invariant.h"
#include "net/socket.h"

#include <stdlib.h>

void pool_book_init(struct pool_book *b)
{
	list_init(&b->lines);
}

static struct pool_line *line_new(struct pool_book *book, const char *name)
{
	struct pool_line *line = calloc(1, sizeof *line);

	if (!line)
		return NULL;
	line->name = strdup(name);
	if (!line->name) {
		free(line);
		return NULL;
	}
	list_init(&line->targets);
	list_init(&line->queue);
	pthread_mutex_init(&line->lock, NULL);
	list_append(&book->lines, &line->link);
	return line;
}

struct pool_line *line_find(struct pool_book *book, const char *name)
{
	struct pool_line *found = NULL;

	LIST_EACH (node, &book->lines) {
		struct pool_line *line = CONTAINER_OF(node, struct pool_line, link);
		if (strcmp(line->name, name) == 0)
			found = line;
	}
	if (!found)
		found = line_new(book, name);
	if (found)
		found->users++;
	return found;
}

void line_unref(struct pool_line **lines)
{
	struct pool_line *line = *lines;

	*lines = NULL;
	if (!line || --line->users > 0)
		return;
	INVARIANT(list_empty(&line->queue));
	INVARIANT(list_empty(&line->targets));
	list_remove(&line->link);
	pthread_mutex_destroy(&line->lock);
	free(line->name);
	free(line);
}

static struct pool_target *target_new(struct pool_line *line, const struct net_address *address, bool scgi)
{
	struct pool_target *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	t->line = line;
	line->users++;
	t->address = *address;
	t->scgi = scgi;
	list_append(&line->targets, &t->link);
	return t;
}

struct pool_target *target_find(struct pool_line *line, const struct net_address *address, bool scgi)
{
	struct pool_target *found = NULL;

	LIST_EACH (node, &line->targets) {
		struct pool_target *t = CONTAINER_OF(node, struct pool_target, link);
		if (t->scgi == scgi && net_address_equal(&t->address, address))
			found = t;
	}
	if (!found)
		found = target_new(line, address, scgi);
	if (found)
		found->users++;
	return found;
}

void pool_target_unref(struct pool_target **targets)
{
	struct pool_target *t = *targets;

	*targets = NULL;
	if (!t || --t->users > 0)
		return;
	list_remove(&t->link);
	line_unref(&t->line);
	free(t);
}
