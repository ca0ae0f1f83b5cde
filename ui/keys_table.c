/* Names of keys, their codes, their symbols in X11, and what they type on a keyboard of the United States. */
#include "ui/keys_table.h"
#include "ui/keys.h"

#include "core/util.h"

#include <linux/input-event-codes.h>
#include <stdlib.h>

/* The first line of a code gives its name. */
const struct key_info key_infos[] = {
    { "esc", KEY_ESC, 0xff1b, '\33' },
    { "1", KEY_1, 0, '1', '!' },
    { "2", KEY_2, 0, '2', '@' },
    { "3", KEY_3, 0, '3', '#' },
    { "4", KEY_4, 0, '4', '$' },
    { "5", KEY_5, 0, '5', '%' },
    { "6", KEY_6, 0, '6', '^' },
    { "7", KEY_7, 0, '7', '&' },
    { "8", KEY_8, 0, '8', '*' },
    { "9", KEY_9, 0, '9', '(' },
    { "0", KEY_0, 0, '0', ')' },
    { "minus", KEY_MINUS, 0, '-', '_' },
    { "equal", KEY_EQUAL, 0, '=', '+' },
    { "backspace", KEY_BACKSPACE, 0xff08, '\b' },
    { "tab", KEY_TAB, 0xff09, '\t' },
    { "q", KEY_Q, 0, 'q', 'Q' },
    { "w", KEY_W, 0, 'w', 'W' },
    { "e", KEY_E, 0, 'e', 'E' },
    { "r", KEY_R, 0, 'r', 'R' },
    { "t", KEY_T, 0, 't', 'T' },
    { "y", KEY_Y, 0, 'y', 'Y' },
    { "u", KEY_U, 0, 'u', 'U' },
    { "i", KEY_I, 0, 'i', 'I' },
    { "o", KEY_O, 0, 'o', 'O' },
    { "p", KEY_P, 0, 'p', 'P' },
    { "bracket_left", KEY_LEFTBRACE, 0, '[', '{' },
    { "bracket_right", KEY_RIGHTBRACE, 0, ']', '}' },
    { "ret", KEY_ENTER, 0xff0d, '\n' },
    { "ctrl", KEY_LEFTCTRL, 0xffe3 },
    { "a", KEY_A, 0, 'a', 'A' },
    { "s", KEY_S, 0, 's', 'S' },
    { "d", KEY_D, 0, 'd', 'D' },
    { "f", KEY_F, 0, 'f', 'F' },
    { "g", KEY_G, 0, 'g', 'G' },
    { "h", KEY_H, 0, 'h', 'H' },
    { "j", KEY_J, 0, 'j', 'J' },
    { "k", KEY_K, 0, 'k', 'K' },
    { "l", KEY_L, 0, 'l', 'L' },
    { "semicolon", KEY_SEMICOLON, 0, ';', ':' },
    { "apostrophe", KEY_APOSTROPHE, 0, '\'', '"' },
    { "grave_accent", KEY_GRAVE, 0, '`', '~' },
    { "shift", KEY_LEFTSHIFT, 0xffe1 },
    { "backslash", KEY_BACKSLASH, 0, '\\', '|' },
    { "z", KEY_Z, 0, 'z', 'Z' },
    { "x", KEY_X, 0, 'x', 'X' },
    { "c", KEY_C, 0, 'c', 'C' },
    { "v", KEY_V, 0, 'v', 'V' },
    { "b", KEY_B, 0, 'b', 'B' },
    { "n", KEY_N, 0, 'n', 'N' },
    { "m", KEY_M, 0, 'm', 'M' },
    { "comma", KEY_COMMA, 0, ',', '<' },
    { "dot", KEY_DOT, 0, '.', '>' },
    { "slash", KEY_SLASH, 0, '/', '?' },
    { "shift_r", KEY_RIGHTSHIFT, 0xffe2 },
    { "kp_multiply", KEY_KPASTERISK, 0xffaa },
    { "asterisk", KEY_KPASTERISK },
    { "alt", KEY_LEFTALT, 0xffe9 },
    { "spc", KEY_SPACE, 0x20, ' ' },
    { "caps_lock", KEY_CAPSLOCK, 0xffe5 },
    { "f1", KEY_F1, 0xffbe },
    { "f2", KEY_F2, 0xffbf },
    { "f3", KEY_F3, 0xffc0 },
    { "f4", KEY_F4, 0xffc1 },
    { "f5", KEY_F5, 0xffc2 },
    { "f6", KEY_F6, 0xffc3 },
    { "f7", KEY_F7, 0xffc4 },
    { "f8", KEY_F8, 0xffc5 },
    { "f9", KEY_F9, 0xffc6 },
    { "f10", KEY_F10, 0xffc7 },
    { "num_lock", KEY_NUMLOCK, 0xff7f },
    { "scroll_lock", KEY_SCROLLLOCK, 0xff14 },
    { "kp_7", KEY_KP7, 0xffb7 },
    { "kp_8", KEY_KP8, 0xffb8 },
    { "kp_9", KEY_KP9, 0xffb9 },
    { "kp_subtract", KEY_KPMINUS, 0xffad },
    { "kp_4", KEY_KP4, 0xffb4 },
    { "kp_5", KEY_KP5, 0xffb5 },
    { "kp_6", KEY_KP6, 0xffb6 },
    { "kp_add", KEY_KPPLUS, 0xffab },
    { "kp_1", KEY_KP1, 0xffb1 },
    { "kp_2", KEY_KP2, 0xffb2 },
    { "kp_3", KEY_KP3, 0xffb3 },
    { "kp_0", KEY_KP0, 0xffb0 },
    { "kp_decimal", KEY_KPDOT, 0xffae },
    { "less", KEY_102ND },
    { "f11", KEY_F11, 0xffc8 },
    { "f12", KEY_F12, 0xffc9 },
    { "ro", KEY_RO },
    { "hiragana", KEY_HIRAGANA, 0xff25 },
    { "henkan", KEY_HENKAN, 0xff23 },
    { "katakanahiragana", KEY_KATAKANAHIRAGANA, 0xff27 },
    { "muhenkan", KEY_MUHENKAN, 0xff22 },
    { "kp_enter", KEY_KPENTER, 0xff8d },
    { "ctrl_r", KEY_RIGHTCTRL, 0xffe4 },
    { "kp_divide", KEY_KPSLASH, 0xffaf },
    { "print", KEY_SYSRQ, 0xff61 },
    { "sysrq", KEY_SYSRQ, 0xff15 },
    { "alt_r", KEY_RIGHTALT, 0xffea },
    { "lf", KEY_LINEFEED },
    { "home", KEY_HOME, 0xff50 },
    { "up", KEY_UP, 0xff52 },
    { "pgup", KEY_PAGEUP, 0xff55 },
    { "left", KEY_LEFT, 0xff51 },
    { "right", KEY_RIGHT, 0xff53 },
    { "end", KEY_END, 0xff57 },
    { "down", KEY_DOWN, 0xff54 },
    { "pgdn", KEY_PAGEDOWN, 0xff56 },
    { "insert", KEY_INSERT, 0xff63 },
    { "delete", KEY_DELETE, 0xffff },
    { "audiomute", KEY_MUTE },
    { "volumedown", KEY_VOLUMEDOWN },
    { "volumeup", KEY_VOLUMEUP },
    { "power", KEY_POWER },
    { "kp_equals", KEY_KPEQUAL, 0xffbd },
    { "pause", KEY_PAUSE, 0xff13 },
    { "kp_comma", KEY_KPCOMMA, 0xffac },
    { "lang1", KEY_HANGEUL, 0xff31 },
    { "lang2", KEY_HANJA, 0xff34 },
    { "yen", KEY_YEN, 0xa5 },
    { "meta_l", KEY_LEFTMETA, 0xffeb },
    { "meta_r", KEY_RIGHTMETA, 0xffec },
    { "compose", KEY_COMPOSE, 0xff67 },
    { "menu", KEY_COMPOSE },
    { "stop", KEY_STOP },
    { "again", KEY_AGAIN, 0xff66 },
    { "props", KEY_PROPS },
    { "undo", KEY_UNDO, 0xff65 },
    { "front", KEY_FRONT },
    { "copy", KEY_COPY },
    { "open", KEY_OPEN },
    { "paste", KEY_PASTE },
    { "find", KEY_FIND, 0xff68 },
    { "cut", KEY_CUT },
    { "help", KEY_HELP, 0xff6a },
    { "calculator", KEY_CALC },
    { "sleep", KEY_SLEEP },
    { "wake", KEY_WAKEUP },
    { "mail", KEY_MAIL },
    { "ac_bookmarks", KEY_BOOKMARKS },
    { "computer", KEY_COMPUTER },
    { "ac_back", KEY_BACK },
    { "ac_forward", KEY_FORWARD },
    { "audionext", KEY_NEXTSONG },
    { "audioplay", KEY_PLAYPAUSE },
    { "audioprev", KEY_PREVIOUSSONG },
    { "audiostop", KEY_STOPCD },
    { "ac_home", KEY_HOMEPAGE },
    { "ac_refresh", KEY_REFRESH },
    { "mediaselect", KEY_MEDIA },
    { "f13", KEY_F13, 0xffca },
    { "f14", KEY_F14, 0xffcb },
    { "f15", KEY_F15, 0xffcc },
    { "f16", KEY_F16, 0xffcd },
    { "f17", KEY_F17, 0xffce },
    { "f18", KEY_F18, 0xffcf },
    { "f19", KEY_F19, 0xffd0 },
    { "f20", KEY_F20, 0xffd1 },
    { "f21", KEY_F21, 0xffd2 },
    { "f22", KEY_F22, 0xffd3 },
    { "f23", KEY_F23, 0xffd4 },
    { "f24", KEY_F24, 0xffd5 },
};
const size_t n_key_infos = ARRAY_LEN(key_infos);

/* Scan code set 1 as a PC's keyboard sends it; those of 1 to 83, 87 and 88 are the key's own number. */
static const struct {
    uint8_t scancode, code;
} scancodes[] = {
    { 0x56, KEY_102ND },      { 0x59, KEY_KPEQUAL },      { 0x5d, KEY_F13 },
    { 0x5e, KEY_F14 },        { 0x5f, KEY_F15 },          { 0x55, KEY_F16 },
    { 0x83, KEY_F17 },        { 0xf7, KEY_F18 },          { 0x84, KEY_F19 },
    { 0x5a, KEY_F20 },        { 0x74, KEY_F21 },          { 0xf9, KEY_F22 },
    { 0x6d, KEY_F23 },        { 0x6f, KEY_F24 },          { 0x70, KEY_KATAKANAHIRAGANA },
    { 0x72, KEY_HANGEUL },    { 0x71, KEY_HANJA },        { 0x73, KEY_RO },
    { 0x77, KEY_HIRAGANA },   { 0x78, KEY_KATAKANA },     { 0x79, KEY_HENKAN },
    { 0x7b, KEY_MUHENKAN },   { 0x7d, KEY_YEN },          { 0x7e, KEY_KPCOMMA },
    { 0x54, KEY_SYSRQ },      { 0x90, KEY_PREVIOUSSONG }, { 0x99, KEY_NEXTSONG },
    { 0x9c, KEY_KPENTER },    { 0x9d, KEY_RIGHTCTRL },    { 0xa0, KEY_MUTE },
    { 0xa1, KEY_CALC },       { 0xa2, KEY_PLAYPAUSE },    { 0xa4, KEY_STOPCD },
    { 0xae, KEY_VOLUMEDOWN }, { 0xb0, KEY_VOLUMEUP },     { 0xb2, KEY_HOMEPAGE },
    { 0xb5, KEY_KPSLASH },    { 0xb7, KEY_SYSRQ },        { 0xb8, KEY_RIGHTALT },
    { 0xc6, KEY_PAUSE },      { 0xc7, KEY_HOME },         { 0xc8, KEY_UP },
    { 0xc9, KEY_PAGEUP },     { 0xcb, KEY_LEFT },         { 0xcd, KEY_RIGHT },
    { 0xcf, KEY_END },        { 0xd0, KEY_DOWN },         { 0xd1, KEY_PAGEDOWN },
    { 0xd2, KEY_INSERT },     { 0xd3, KEY_DELETE },       { 0xdb, KEY_LEFTMETA },
    { 0xdc, KEY_RIGHTMETA },  { 0xdd, KEY_COMPOSE },      { 0xde, KEY_POWER },
    { 0xdf, KEY_SLEEP },      { 0xe3, KEY_WAKEUP },       { 0xe6, KEY_BOOKMARKS },
    { 0xe7, KEY_REFRESH },    { 0xe9, KEY_FORWARD },      { 0xea, KEY_BACK },
    { 0xeb, KEY_COMPUTER },   { 0xec, KEY_MAIL },         { 0xed, KEY_MEDIA },
};

static bool is_own_number(unsigned n)
{
    return (n >= 1 && n <= KEY_KPDOT) || n == KEY_F11 || n == KEY_F12;
}

unsigned key_by_scancode(unsigned scancode)
{
    if (is_own_number(scancode))
        return scancode;
    for (size_t i = 0; i < ARRAY_LEN(scancodes); i++)
        if (scancodes[i].scancode == scancode)
            return scancodes[i].code;
    return 0;
}

unsigned key_scancode(unsigned code)
{
    if (is_own_number(code))
        return code;
    for (size_t i = ARRAY_LEN(scancodes); i--;)
        if (scancodes[i].code == code)
            return scancodes[i].scancode;
    return 0;
}

unsigned key_by_name(const char *name)
{
    char *end;
    if (!strncmp(name, "0x", 2)) {
        unsigned long number = strtoul(name, &end, 16);
        return *end || number > 0xff ? 0 : key_by_scancode((unsigned)number);
    }
    for (size_t i = 0; i < n_key_infos; i++)
        if (!strcmp(key_infos[i].name, name))
            return key_infos[i].code;
    return 0;
}

const char *key_name(unsigned code)
{
    for (size_t i = 0; i < n_key_infos; i++)
        if (key_infos[i].code == code)
            return key_infos[i].name;
    return NULL;
}
