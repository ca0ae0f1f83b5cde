"""A small VNC viewer (RFC 6143): logs in, keeps the picture, types, points.

    with Viewer("127.0.0.1", 5901, password="sesame") as v:
        v.type("root\\n")
        v.update()
        v.picture.ppm()
"""
import socket, struct, time

KEYS = {"\n": 0xff0d, "\t": 0xff09, "\b": 0xff08, "shift": 0xffe1, "ctrl": 0xffe3, "alt": 0xffe9, "f1": 0xffbe,
        "f12": 0xffc9, "up": 0xff52, "down": 0xff54, "left": 0xff51, "right": 0xff53, "esc": 0xff1b, "end": 0xff57}
RAW, COPY, SIZE, CURSOR, LAST = 0, 1, -223, -239, -224


# ---- DES, for the password alone (FIPS 46-3) -------------------------------------------------------
def _table(text):
    return [int(n) - 1 for n in text.split()]


IP = [57 + 2 * (i // 8) - 8 * (i % 8) - (9 if i >= 32 else 0) for i in range(64)]
FP = [IP.index(i) for i in range(64)]
E = [(4 * (i // 6) + i % 6 - 1) % 32 for i in range(48)]
P = _table("16 7 20 21 29 12 28 17 1 15 23 26 5 18 31 10 2 8 24 14 32 27 3 9 19 13 30 6 22 11 4 25")
PC1 = _table("57 49 41 33 25 17 9 1 58 50 42 34 26 18 10 2 59 51 43 35 27 19 11 3 60 52 44 36 63 55 47 39 31 23 15 7 "
             "62 54 46 38 30 22 14 6 61 53 45 37 29 21 13 5 28 20 12 4")
PC2 = _table("14 17 11 24 1 5 3 28 15 6 21 10 23 19 12 4 26 8 16 7 27 20 13 2 41 52 31 37 47 55 30 40 51 45 33 48 44 "
             "49 39 56 34 53 46 42 50 36 29 32")
SHIFTS = [1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1]
S = [
    "E4D12FB83A6C5907" "0F74E2D1A6CB9538" "41E8D62BFC973A50" "FC8249175B3EA06D",
    "F18E6B34972DC05A" "3D47F28EC01A69B5" "0E7BA4D158C6932F" "D8A13F42B67C05E9",
    "A09E63F51DC7B428" "D709346A285ECBF1" "D6498F30B12C5AE7" "1AD069874FE3B52C",
    "7DE3069A1285BC4F" "D8B56F03472C1AE9" "A690CB7DF13E5284" "3F06A1D8945BC72E",
    "2C417AB6853FD0E9" "EB2C47D150FA3986" "421BAD78F9C5630E" "B8C71E2D6F09A453",
    "C1AF92680D34E75B" "AF427C9561DE0B38" "9EF528C3704A1DB6" "432C95FABE17608D",
    "4B2EF08D3C975A61" "D0B7491AE35C2F86" "14BDC37EAF680592" "6BD814A7950FE23C",
    "D2846FB1A93E50C7" "1FD8A374C56B0E92" "7B419CE206ADF358" "21E74A8DFC90356B",
]


def _des_block(key, block):
    bits = lambda data: [data[i // 8] >> (7 - i % 8) & 1 for i in range(64)]
    k, b = [bits(key)[i] for i in PC1], [bits(block)[i] for i in IP]
    c, d, left, right = k[:28], k[28:], b[:32], b[32:]
    for shift in SHIFTS:
        c, d = c[shift:] + c[:shift], d[shift:] + d[:shift]
        mixed = [right[E[i]] ^ (c + d)[PC2[i]] for i in range(48)]
        out = []
        for box in range(8):
            m = mixed[6 * box:6 * box + 6]
            row, column = m[0] << 1 | m[5], m[1] << 3 | m[2] << 2 | m[3] << 1 | m[4]
            n = int(S[box][16 * row + column], 16)
            out += [n >> 3 & 1, n >> 2 & 1, n >> 1 & 1, n & 1]
        left, right = right, [left[i] ^ out[P[i]] for i in range(32)]
    b = [(right + left)[i] for i in FP]
    return bytes(sum(b[8 * i + j] << (7 - j) for j in range(8)) for i in range(8))


def answer(password, challenge):
    """VNC Authentication, 7.2.2: DES under the password, each of its bytes mirrored."""
    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password.encode()[:8].ljust(8, b"\0"))
    return _des_block(key, challenge[:8]) + _des_block(key, challenge[8:])


# ---- pictures -------------------------------------------------------------------------------------------
class Picture:
    """Rows of 0x00RRGGBB pixels, four bytes each."""

    def __init__(self, width, height):
        self.width, self.height, self.rows = width, height, [bytearray(4 * width) for _ in range(height)]

    def resize(self, width, height):
        self.__init__(width, height)

    def put(self, x, y, width, height, data):
        for i in range(height):
            self.rows[y + i][4 * x:4 * (x + width)] = data[4 * width * i:4 * width * (i + 1)]

    def ppm(self):
        out = bytearray(b"P6\n%d %d\n255\n" % (self.width, self.height))
        for row in self.rows:
            rgb = bytearray(3 * self.width)
            rgb[0::3], rgb[1::3], rgb[2::3] = row[2::4], row[1::4], row[0::4]
            out += rgb
        return bytes(out)

    def colours(self):
        return len({bytes(row[4 * x:4 * x + 3]) for row in self.rows for x in range(self.width)})


class Refused(Exception):
    pass


class Viewer:
    def __init__(self, host, port, password=None, encodings=(RAW, COPY, SIZE), seconds=60):
        self.socket = socket.socket(socket.AF_UNIX) if host == "unix" else socket.create_connection((host, port))
        if host == "unix":
            self.socket.connect(port)
        self.socket.settimeout(seconds)
        self.log_in(password)
        self.socket.sendall(struct.pack(">BBH", 2, 0, len(encodings)) + struct.pack(f">{len(encodings)}i", *encodings))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def read(self, n):
        data = b""
        while len(data) < n:
            more = self.socket.recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def unpack(self, fmt):
        return struct.unpack(">" + fmt, self.read(struct.calcsize(">" + fmt)))

    def log_in(self, password):
        assert self.read(12) == b"RFB 003.008\n"
        self.socket.sendall(b"RFB 003.008\n")
        types = self.read(self.unpack("B")[0])
        self.socket.sendall(types[:1])
        if types[0] == 2:
            self.socket.sendall(answer(password or "", self.read(16)))
        if self.unpack("I")[0]:
            raise Refused(self.read(self.unpack("I")[0]).decode())
        self.socket.sendall(b"\1")
        width, height = self.unpack("HH")
        self.format = self.read(16)
        self.name = self.read(self.unpack("I")[0]).decode()
        self.picture = Picture(width, height)

    # -- what is seen --
    def ask(self, incremental=True):
        self.socket.sendall(struct.pack(">BBHHHH", 3, incremental, 0, 0, 0xffff, 0xffff))

    def update(self, incremental=False):
        """Ask, and take what comes into the picture."""
        self.ask(incremental)
        while self.unpack("B")[0] != 0:
            raise ValueError("no update")
        _, n = self.unpack("BH")
        for _ in range(n):
            x, y, width, height, encoding = self.unpack("HHHHi")
            if encoding == RAW:
                self.picture.put(x, y, width, height, self.read(4 * width * height))
            elif encoding == SIZE:
                self.picture.resize(width, height)
            elif encoding == CURSOR:
                self.read(4 * width * height + (width + 7) // 8 * height)
            elif encoding == LAST:
                break
            else:
                raise ValueError(f"encoding {encoding}")
        return self.picture

    # -- what is done --
    def key(self, symbol, down):
        self.socket.sendall(struct.pack(">BBHI", 4, down, 0, symbol))

    def press(self, *names):
        symbols = [KEYS.get(name) or ord(name) for name in names]
        for symbol in symbols:
            self.key(symbol, True)
        for symbol in reversed(symbols):
            self.key(symbol, False)

    def type(self, text, seconds=0.05):
        """No faster than a person: a BIOS keeps 15 keys, and forgets more."""
        for c in text:
            self.press(c)
            time.sleep(seconds)

    def point(self, x, y, buttons=0):
        self.socket.sendall(struct.pack(">BBHH", 5, buttons, x, y))
