/* What every decoder of proto/ answers. */
#ifndef WEIR_PROTO_DECODE_H
#define WEIR_PROTO_DECODE_H

enum decode {
	DECODE_OK,        /* one event is in the output */
	DECODE_NEED_MORE, /* all input is consumed and no event is complete */
	DECODE_MALFORMED, /* the stream cannot be understood from here on; decode_reason() of the decoder says why */
};

#endif
