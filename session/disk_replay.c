/* What the log holds of a disk store whose file is lost (doc/disk-format.md, "Damage"): its transactions are done once
 * more, in the new store. Unlike a recovery this needs no page of the old one, but it knows only what has come since
 * the log's begin, and not what became of a record that was replaced where it lay. */
#include "session/disk_damage.h"

#include "base/error.h"
#include "session/disk_op.h"

#include <stdlib.h>

struct replay {
	struct store *s;
	struct buf item; /* a long one, as far as it has come */
	uint32_t first_page, last_page;
	bool odd; /* something was not as it should be */
};

/* --- one record --- */

static int add(struct replay *r, struct view item)
{
	struct record_head head;

	if (!disk_record_is_sound(item, &head) || !disk_is_newer(r->s, &head))
		return 0;
	return disk_put_bytes(r->s, &head, item);
}

static int add_part(struct replay *r, const struct disk_op *op)
{
	if (op->prev_page == 0) {
		buf_clear(&r->item);
		r->first_page = op->page;
	} else if (op->prev_page != r->last_page) {
		r->first_page = 0;
	}
	r->last_page = op->page;
	buf_put(&r->item, op->item);
	return buf_error(&r->item);
}

static int add_long(struct replay *r, const struct disk_op *op)
{
	if (op->first_page == r->first_page && op->long_bytes == buf_len(&r->item))
		return add(r, buf_view(&r->item));
	r->odd = true;
	return 0;
}

/* A key of `ids`: no other item of that length leads to a session. */
static int remove_id(struct replay *r, struct view item)
{
	struct sess_id id;

	if (item.len != SESS_ID_BYTES)
		return 0;
	memcpy(id.bytes, item.at, SESS_ID_BYTES);
	return store_disk.remove(r->s, &id);
}

static int commit(struct replay *r)
{
	int err = disk_commit(r->s);

	return err ? err : disk_tend(r->s);
}

/* Transactions follow each other; one that does not commit comes to nothing. */
static int redo(struct replay *r, const struct disk_op *op)
{
	if (op->begins)
		disk_undo(r->s);
	switch (op->kind) {
	case DISK_OP_ADD:
		return add(r, op->item);
	case DISK_OP_ADD_PART:
		return add_part(r, op);
	case DISK_OP_ADD_LONG:
		return add_long(r, op);
	case DISK_OP_REMOVE:
		return remove_id(r, op->item);
	case DISK_OP_COMMIT:
		return commit(r);
	default:
		return 0;
	}
}

/* --- the log --- */

/* Behind a record that cannot be read there is nothing that could be trusted. */
static int redo_all(struct replay *r, DB_LOGC *c, uint32_t last_file, struct disk_replay *out)
{
	DB_LSN at = {0};
	DBT record = {0};
	struct disk_op op;
	int err = 0, ret = c->get(c, &at, &record, DB_FIRST);
	const bool from_begin = ret == 0 && at.file == 1;

	while (!err && ret == 0) {
		disk_op_decode(view_of(record.data, record.size), &op);
		err = redo(r, &op);
		ret = c->get(c, &at, &record, DB_NEXT);
	}
	disk_undo(r->s);
	out->to_end = !err && ret == DB_NOTFOUND && at.file == last_file;
	out->all = out->to_end && from_begin && !r->odd;
	return err;
}

int disk_replay(struct store *s, const char *aside, struct disk_replay *out)
{
	struct replay r = {.s = s};
	DB_LOG_STAT *stat = NULL;
	DB_LOGC *c = NULL;
	DB_ENV *env;
	int err = 0;

	*out = (struct disk_replay){0};
	int ret = disk_env_open_log(s, aside, &env);
	if (ret == 0)
		ret = env->log_stat(env, &stat, 0);
	if (ret == 0)
		ret = env->log_cursor(env, &c, 0);
	if (ret == 0) {
		err = redo_all(&r, c, stat->st_cur_file, out);
		(void)c->close(c, 0);
	}
	free(stat);
	disk_env_close_log(&env);
	buf_fini(&r.item);
	return err;
}
