"""Records in the disk store's file (doc/disk-format.md), made ones of another format."""
import os

MASK = (1 << 64) - 1
PAGE_HEAD, AT_CHECKSUM = 32, 28  # of a Berkeley DB page


def _siphash(key, data):
    """SipHash-2-4."""
    k = [int.from_bytes(key[i:i + 8], "little") for i in (0, 8)]
    v = [k[0] ^ 0x736f6d6570736575, k[1] ^ 0x646f72616e646f6d, k[0] ^ 0x6c7967656e657261, k[1] ^ 0x7465646279746573]

    def turn(n, bits):
        return (n << bits | n >> (64 - bits)) & MASK

    def rounds(count):
        for _ in range(count):
            for a, b, c, d, first, second in ((0, 1, 2, 3, 13, 16), (2, 1, 0, 3, 17, 21)):
                v[a] = (v[a] + v[b]) & MASK
                v[b] = turn(v[b], first) ^ v[a]
                v[a] = turn(v[a], 32)
                v[c] = (v[c] + v[d]) & MASK
                v[d] = turn(v[d], second) ^ v[c]
    words = data + bytes(7 - len(data) % 8) + bytes([len(data) & 255])
    for i in range(0, len(words), 8):
        word = int.from_bytes(words[i:i + 8], "little")
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 255
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def _page_sum(page):
    total = 0
    for byte in page:
        total = (total * 33 + byte) & 0xffffffff
    return total


def _set_in_page(page, text, number):
    count = 0
    begin = page.find(b"weir\0", PAGE_HEAD)
    while begin >= 0:
        length = int.from_bytes(page[begin + 8:begin + 12], "big")
        end = begin + length - 8
        if page[end - len(text):end] == text:
            page[begin + 4:begin + 6] = number.to_bytes(2, "big")
            page[end:end + 8] = _siphash(b"weir-session-v1\0", bytes(page[begin:end])).to_bytes(8, "big")
            count += 1
        begin = page.find(b"weir\0", begin + 4)
    return count


def set_format(folder, text, number):
    """Every record whose state is this text is of that format from now on. How many there were. Nobody may have the
    store open."""
    path = os.path.join(folder, "sessions.db")
    count = 0
    with open(path, "r+b") as f:
        data = bytearray(f.read())
        size = int.from_bytes(data[20:24], "little")
        for at in range(0, len(data), size):
            page = data[at:at + size]
            found = _set_in_page(page, text, number)
            if found:
                page[AT_CHECKSUM:AT_CHECKSUM + 4] = bytes(4)
                page[AT_CHECKSUM:AT_CHECKSUM + 4] = _page_sum(page).to_bytes(4, "little")
                f.seek(at)
                f.write(page)
            count += found
    return count
