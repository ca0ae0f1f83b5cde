/* A boot disk in real mode: what the BIOS's interrupts answer, and what 16-bit code means. Each fact is compared in AX
 * and printed to COM1; a name is a string behind the call. Ends by isa-debug-exit. */
    .code16
    .globl start
    .set BODY_SECTORS, 16
    .set SPARE_SECTOR, 100      /* of the disk: ours to write */
    .set SPARE, 0x3000          /* a segment, likewise */

/* AX is `want`. */
    .macro EQUAL want, name
    push    $\want
    call    report
    .asciz  "\name"
    .endm

start:
    cli
    xor     %ax, %ax
    mov     %ax, %ds
    mov     %ax, %es
    mov     %ax, %ss
    mov     $0x7c00, %sp
    ljmp    $0, $1f
1:  sti
    cld
    mov     %dl, drive
    mov     $packet, %si
    mov     $0x42, %ah
    int     $0x13               /* EDD 3.0: extended read */
    jnc     body
    hlt
packet:
    .byte   16, 0
packet_n:
    .word   BODY_SECTORS
packet_to:
    .word   body, 0
packet_from:
    .quad   1
drive:
    .byte   0
    .org    510
    .word   0xaa55

body:
    xor     %ax, %ax
    EQUAL   0, "the BIOS reads what lies behind the boot sector"
    call    firmware
    call    catch_exceptions
    call    integers
    call    decimals
    call    strings
    call    segments
    call    transfers
    call    exceptions
    call    floats
    call    modes
    call    virtual_8086
    mov     $done, %si
    call    print
    mov     $0x501, %dx         /* isa-debug-exit */
    mov     $3, %al
    out     %al, %dx
    cli
    hlt
done:
    .asciz  "done\r\n"

/* ---- printing ---------------------------------------------------------------------------------------- */
put:                            /* AL to COM1 */
    push    %dx
    push    %ax
    mov     $0x3fd, %dx
1:  in      %dx, %al
    test    $0x20, %al
    jz      1b
    mov     $0x3f8, %dx
    pop     %ax
    out     %al, %dx
    pop     %dx
    ret
print:                          /* DS:SI to COM1, in one piece; SI stands behind it then */
    pushf
    cli                         /* the BIOS shows characters when its timer ticks */
1:  lodsb
    test    %al, %al
    jz      2f
    call    put
    jmp     1b
2:  popf
    ret
print_hex:                      /* AX */
    mov     $4, %cx
1:  rol     $4, %ax
    push    %ax
    and     $15, %al
    cmp     $10, %al
    sbb     $0x69, %al
    das
    call    put
    pop     %ax
    loop    1b
    ret

/* Stack: what is wanted, and the address of the name, behind which it returns. Keeps all but flags. */
report:
    pushal
    push    %ds
    push    %es
    pushf
    cli                         /* a line in one piece */
    xor     %bx, %bx
    mov     %bx, %ds
    mov     %bx, %es
    cld
    mov     %sp, %bp
    mov     %ax, %bx
    mov     $said_ok, %si
    cmp     40(%bp), %ax
    je      1f
    mov     $said_not_ok, %si
1:  call    print
    mov     38(%bp), %si
    call    print
    mov     %si, 38(%bp)
    cmp     40(%bp), %bx
    je      1f
    mov     $said_got, %si
    call    print
    mov     %bx, %ax
    call    print_hex
1:  mov     $said_end, %si
    call    print
    popf
    pop     %es
    pop     %ds
    popal
    ret     $2
said_ok:
    .asciz  "ok "
said_not_ok:
    .asciz  "not ok "
said_got:
    .asciz  ": got 0x"
said_end:
    .asciz  "\r\n"

/* ---- the BIOS ---------------------------------------------------------------------------------------- */
firmware:
    mov     $by_teletype, %si   /* INT 10h: the serial console shows it, too */
1:  lodsb
    test    %al, %al
    jz      1f
    mov     $0x0e, %ah
    mov     $7, %bx
    int     $0x10
    jmp     1b
1:  int     $0x12
    EQUAL   639, "INT 12h: 639 KiB"
    xor     %ebx, %ebx          /* INT 15h E820h: usable ranges */
    xor     %bp, %bp
1:  mov     $0xe820, %eax
    mov     $0x534d4150, %edx
    mov     $24, %ecx
    mov     $buffer, %di
    int     $0x15
    jc      2f
    cmpl    $1, buffer + 16
    jne     3f
    inc     %bp
3:  test    %ebx, %ebx
    jnz     1b
2:  mov     %bp, %ax
    EQUAL   2, "INT 15h E820h: two usable ranges"
    mov     $0x88, %ah
    int     $0x15
    cmp     $15 * 1024, %ax
    setae   %al
    mov     $0, %ah
    EQUAL   1, "INT 15h 88h: memory above 1 MiB"
    mov     $body, %si          /* INT 15h 87h: there and back, by protected mode */
    mov     $move_there, %bx
    call    move
    EQUAL   0, "INT 15h 87h: a block to 2 MiB"
    mov     $move_back, %bx
    call    move
    push    $SPARE
    pop     %es
    mov     $body, %si
    xor     %di, %di
    mov     $256, %cx
    repe cmpsw
    push    $0
    pop     %es
    mov     %cx, %ax
    EQUAL   0, "INT 15h 87h: and back"
    xor     %ah, %ah            /* INT 1Ah: ticks */
    int     $0x1a
    mov     %dx, %bp
    mov     $10, %si
1:  hlt
    xor     %ah, %ah
    int     $0x1a
    mov     %dx, %ax
    sub     %bp, %ax
    dec     %si
    jz      2f
    cmp     $2, %ax
    jb      1b
    mov     $2, %ax
2:  EQUAL   2, "INT 1Ah: the clock goes on while the CPU halts"
    mov     $SPARE, %ax         /* INT 13h: cylinder 0, head 0, sector 2 is the body's first */
    mov     %ax, %es
    xor     %bx, %bx
    mov     $0x0201, %ax
    mov     $0x0002, %cx
    mov     drive, %dl
    mov     $0, %dh
    int     $0x13
    mov     %ah, %al
    mov     $0, %ah
    EQUAL   0, "INT 13h 02h: reads by cylinder, head and sector"
    mov     $body, %si
    xor     %di, %di
    mov     $256, %cx
    repe cmpsw
    mov     %cx, %ax
    EQUAL   0, "INT 13h 02h: the right one"
    movw    $0, packet_to
    movw    $SPARE, packet_to + 2
    movw    $SPARE_SECTOR, packet_from
    movw    $1, packet_n
    movl    $0x600df00d, %es:8
    mov     $0x4300, %ax        /* extended write, read */
    call    by_packet
    movl    $0, %es:8
    mov     $0x4200, %ax
    call    by_packet
    mov     %es:8, %ax
    EQUAL   0xf00d, "INT 13h 43h: what was written is read"
    push    $0
    pop     %es
    mov     $press, %si
    call    print
    mov     $0, %ah             /* INT 16h: from the serial console */
    int     $0x16
    mov     $0, %ah
    EQUAL   'k', "INT 16h: a key"
    mov     $0x01, %ah
    int     $0x16
    setnz   %al
    mov     $0, %ah
    EQUAL   0, "INT 16h 01h: no other"
    ret
by_packet:
    mov     $packet, %si
    mov     drive, %dl
    int     $0x13
    mov     %ah, %al
    mov     $0, %ah
    EQUAL   0, "INT 13h 42h, 43h: no error"
    ret
move:                           /* 256 words by the descriptors at BX */
    mov     %bx, %si
    mov     $256, %cx
    mov     $0x87, %ah
    int     $0x15
    mov     %ah, %al
    mov     $0, %ah
    ret
by_teletype:
    .asciz  "by teletype\r\n\r\n"
press:
    .asciz  "press k\r\n"
    .balign 8
move_there:
    .quad   0, 0, 0x0000930000000000 + (0x7e00 << 16) + 0xffff, 0x000093200000ffff, 0, 0
move_back:
    .quad   0, 0, 0x000093200000ffff, 0x0000930000000000 + (SPARE << 20) + 0xffff, 0, 0

/* ---- exceptions: they go to `resume`; vector and saved IP are kept --------------------------------------- */
    .macro CATCHER vector
catch_\vector:
    push    $\vector
    jmp     catch
    .endm
    CATCHER 0
    CATCHER 1
    CATCHER 3
    CATCHER 4
    CATCHER 5
    CATCHER 6
    CATCHER 13
catch:                          /* vector, IP, CS, flags: SP is as before the exception then */
    pop     %cs:caught
    pop     %cs:caught_ip
    add     $4, %sp
    jmp     *%cs:resume
caught:
    .word   0
caught_ip:
    .word   0
resume:
    .word   0
catch_exceptions:
    movl    $catch_0, 0 * 4
    movl    $catch_1, 1 * 4
    movl    $catch_3, 3 * 4
    movl    $catch_4, 4 * 4
    movl    $catch_5, 5 * 4
    movl    $catch_6, 6 * 4
    movl    $catch_13, 13 * 4
    ret
/* The code in between raises it; the IP that is saved is \ip bytes behind label 1, where it begins. */
    .macro CATCH_BEGIN
    movw    $2f, %cs:resume
    movw    $99, %cs:caught
1:
    .endm
    .macro CATCH_END vector, ip, name
2:  sti
    mov     %cs:caught_ip, %ax
    sub     $1b, %ax
    add     %cs:caught, %ah
    EQUAL   (\vector*256+\ip), "\name"
    .endm
exceptions:
    xor     %ax, %ax
    mov     %al, %cl
    CATCH_BEGIN
    div     %cl
    CATCH_END 0, 0, "division by zero: at the instruction"
    mov     $0x1000, %ax
    mov     $2, %cl
    CATCH_BEGIN
    div     %cl
    CATCH_END 0, 0, "a quotient that is too big"
    CATCH_BEGIN
    int3
    CATCH_END 3, 1, "INT3: behind it"
    mov     $0x7f, %al
    inc     %al
    CATCH_BEGIN
    into
    CATCH_END 4, 1, "INTO: behind it"
    mov     $10, %ax
    CATCH_BEGIN
    bound   %ax, bounds
    CATCH_END 5, 0, "BOUND: at it"
    CATCH_BEGIN
    ud2
    CATCH_END 6, 0, "UD2"
    CATCH_BEGIN
    .byte   0xf0, 0x90          /* LOCK NOP */
    CATCH_END 6, 0, "LOCK before what has none"
    CATCH_BEGIN
    .byte   0x8e, 0xc8          /* MOV CS, AX */
    CATCH_END 6, 0, "CS is not loaded"
    CATCH_BEGIN
    mov     0xffff, %ax
    CATCH_END 13, 0, "a word over the segment's end"
    mov     $0x10000, %ebx
    CATCH_BEGIN
    mov     (%ebx), %al
    CATCH_END 13, 0, "a 32-bit address behind the segment's end"
    CATCH_BEGIN
    pushf
    pop     %ax
    or      $0x100, %ax
    push    %ax
    popf
    nop
    CATCH_END 1, 8, "single-step: behind the instruction after POPF"
    xor     %cx, %cx
    CATCH_BEGIN
    pushf
    pop     %ax
    or      $0x100, %ax
    push    %ax
    popf
    mov     %cx, %ss
    nop
    CATCH_END 1, 10, "single-step: not behind MOV SS, but one later"
    ret
bounds:
    .word   1, 9

/* ---- integers ----------------------------------------------------------------------------------------- */
integers:
    mov     $0x12345678, %eax
    shr     $16, %eax
    EQUAL   0x1234, "32-bit operands in 16-bit code"
    mov     $0xffff, %ax
    add     $1, %ax
    EQUAL   0, "ADD wraps at 16 bits"
    mov     $0xaaaaffff, %eax
    inc     %ax
    shr     $16, %eax
    EQUAL   0xaaaa, "a 16-bit operation leaves the upper half"
    mov     $0x8000, %ax
    cwd
    mov     %dx, %ax
    EQUAL   0xffff, "CWD"
    mov     $0x80, %al
    cbw
    EQUAL   0xff80, "CBW"
    mov     $300, %ax
    mov     $-7, %cx
    cwd
    idiv    %cx
    EQUAL   -42, "IDIV rounds toward zero"
    mov     %dx, %ax
    EQUAL   6, "IDIV: the remainder has the dividend's sign"
    mov     $-1234, %ax
    imul    $77, %ax, %ax
    EQUAL   ((-1234*77)&0xffff), "IMUL of three operands"
    mov     $0x1234, %ax
    mov     $0xabcd, %dx
    shld    $4, %dx, %ax
    EQUAL   0x234a, "SHLD"
    stc
    mov     $0x8001, %ax
    rcl     $3, %ax
    EQUAL   0x000e, "RCL"
    mov     $0x1234, %ax
    ror     $20, %ax            /* modulo 32, then 16 */
    EQUAL   0x4123, "ROR by more than its width"
    mov     $0x8234, %ax
    sar     $31, %ax
    EQUAL   0xffff, "SAR by more than its width"
    movw    $0, buffer
    movw    $0, buffer + 2
    mov     $17, %ax
    bts     %ax, buffer
    mov     buffer + 2, %ax
    EQUAL   2, "BTS in memory: the bit number reaches beyond the word"
    mov     $-1, %ax
    bts     %ax, buffer + 2
    mov     buffer, %ax
    EQUAL   0x8000, "BTS in memory: and below it"
    mov     $0x0840, %cx
    bsf     %cx, %ax
    EQUAL   6, "BSF"
    bsr     %cx, %ax
    EQUAL   11, "BSR"
    mov     $0x1111, %ax
    movw    $0x1111, buffer
    mov     $0x2222, %cx
    cmpxchg %cx, buffer
    mov     buffer, %ax
    EQUAL   0x2222, "CMPXCHG"
    mov     $1, %ax
    xadd    %ax, buffer
    add     buffer, %ax
    EQUAL   0x4445, "XADD"
    mov     $0xd5, %ah
    sahf
    lahf
    xchg    %ah, %al
    mov     $0, %ah
    EQUAL   0xd7, "SAHF, LAHF"
    stc
    .byte   0xd6
    mov     $0, %ah
    EQUAL   0xff, "SALC"
    push    %sp
    pop     %ax
    sub     %sp, %ax
    EQUAL   0, "PUSH SP pushes what it was"
    ret

/* ---- decimals ------------------------------------------------------------------------------------------ */
decimals:
    mov     $0x79, %al
    add     $0x35, %al
    daa
    setc    %ah
    EQUAL   0x0114, "DAA"
    mov     $0x35, %al
    sub     $0x47, %al
    das
    setc    %ah
    EQUAL   0x0188, "DAS"
    mov     $9, %ax
    add     $8, %al
    aaa
    EQUAL   0x0107, "AAA"
    mov     $0x203, %ax
    sub     $8, %al
    aas
    EQUAL   0x0105, "AAS"
    mov     $77, %ax
    aam
    EQUAL   0x0707, "AAM"
    mov     $0x0707, %ax
    aad
    EQUAL   77, "AAD"
    mov     $200, %ax
    aam     $16
    EQUAL   0x0c08, "AAM of another base"
    ret

/* ---- strings ------------------------------------------------------------------------------------------- */
strings:
    push    $SPARE
    pop     %es
    movl    $0, %es:0
    movl    $0, %es:0xfffc
    mov     $0xfffe, %di
    mov     $4, %cx
    mov     $0x5a, %al
    rep stosb
    mov     %di, %ax
    EQUAL   2, "REP STOSB: DI wraps"
    mov     %es:0, %ax
    and     %es:0xfffe, %ax
    EQUAL   0x5a5a, "REP STOSB: and so does memory"
    movw    $0x1234, buffer
    mov     $buffer + 1, %si
    mov     $3, %di
    mov     $2, %cx
    std
    rep movsb
    cld
    mov     %es:2, %ax
    EQUAL   0x1234, "REP MOVSB downwards"
    mov     $0xffff, %si
    lodsb   %cs:(%si)
    mov     %si, %ax
    EQUAL   0, "LODSB: SI wraps"
    push    $0
    pop     %es
    mov     $said_not_ok, %di
    mov     $20, %cx
    mov     $'k', %al
    repne scasb
    mov     %di, %ax
    sub     $said_not_ok, %ax
    EQUAL   6, "REPNE SCASB"
    mov     $table - 3, %bx
    mov     $4, %al
    xlat
    mov     $0, %ah
    EQUAL   0x77, "XLAT"
    mov     $0x10003, %ecx
    xor     %ax, %ax
1:  inc     %ax
    loop    1b
    EQUAL   3, "LOOP counts in CX"
    mov     $0x10000, %ecx
    xor     %ax, %ax
    jcxz    1f
    inc     %ax
1:  EQUAL   0, "JCXZ looks at CX"
    mov     $0x10000, %ecx
    mov     $1, %ax
    jecxz   1f
    inc     %ax
1:  EQUAL   2, "JECXZ looks at ECX"
    xor     %ecx, %ecx
    ret
table:
    .byte   0x66, 0x77

/* ---- segments ------------------------------------------------------------------------------------------- */
segments:
    movl    $0x12340042, buffer
    les     buffer, %di
    mov     %es, %ax
    EQUAL   0x1234, "LES"
    push    $0
    pop     %es
    mov     %sp, %bp            /* another stack, from its bottom */
    movw    %bp, old_sp
    mov     $SPARE, %ax
    mov     %ax, %ss
    xor     %sp, %sp
    push    $0x1f2e
    mov     %sp, %bx
    pop     %cx
    mov     %sp, %dx
    xor     %ax, %ax
    mov     %ax, %ss
    mov     old_sp, %sp
    mov     %bx, %ax
    EQUAL   0xfffe, "PUSH wraps SP"
    mov     %dx, %ax
    EQUAL   0, "POP wraps it back"
    mov     %cx, %ax
    EQUAL   0x1f2e, "and finds what was pushed"
    mov     $0xffff, %ax        /* ffff:0510 is not 0000:0500: line 20 is always on */
    mov     %ax, %es
    movw    $0x1111, 0x500
    movw    $0x2222, %es:0x510
    mov     0x500, %ax
    EQUAL   0x1111, "A20: 1 MiB is not 0"
    push    $0
    pop     %es
    push    $0x7002             /* IOPL and NT are bits like others here */
    popf
    pushf
    pop     %ax
    push    $2
    popf
    sti
    and     $0xf000, %ax
    EQUAL   0x7000, "POPF: IOPL and NT"
    enter   $6, $1
    mov     %bp, %ax
    sub     %sp, %ax
    leave
    EQUAL   8, "ENTER with a level"
    ret
old_sp:
    .word   0

/* ---- transfers ------------------------------------------------------------------------------------------- */
transfers:
    mov     %sp, %bp
    push    $0x1111
    lcall   $0x10, $far_routine - 0x100
    EQUAL   0x10, "far call: its own CS"
    mov     %bp, %ax
    sub     %sp, %ax
    EQUAL   0, "far return with parameters"
    movw    $near_routine, buffer
    call    *buffer
    EQUAL   0x55, "near call through memory"
    movb    $0x40, patched + 1  /* B8 imm16: code that is written, then executed */
    movb    $0x41, patched + 2
patched:
    mov     $0, %ax
    EQUAL   0x4140, "code that was just written"
    mov     $3, %cx             /* and in a loop: INC AX becomes INC BX */
    xor     %ax, %ax
    xor     %bx, %bx
1:  inc     %ax
    movb    $0x43, 1b
    loop    1b
    movb    $0x40, 1b
    shl     $8, %ax
    add     %bx, %ax
    EQUAL   0x0102, "code that is written in a loop"
    ret
near_routine:
    mov     $0x55, %ax
    ret
far_routine:
    mov     %cs, %ax
    lret    $2

/* ---- x87 --------------------------------------------------------------------------------------------------- */
floats:
    fninit
    fldpi
    fld1
    faddp
    fistps  buffer
    mov     buffer, %ax
    EQUAL   4, "x87: pi and one"
    fnstenv buffer
    mov     buffer, %ax
    EQUAL   0x37f, "x87: a 16-bit environment begins with the control word"
    movw    $0xeeee, buffer + 14
    fnstenv buffer
    mov     buffer + 14, %ax
    EQUAL   0xeeee, "x87: and has 14 bytes"
    fldl2e
    fbstp   buffer
    mov     buffer, %ax
    EQUAL   1, "x87: FBSTP"
    fninit
    ret

/* ---- protected mode and back ------------------------------------------------------------------------------- */
    .set CODE16, 0x08
    .set DATA16, 0x10           /* 64 KiB at 0x30000 */
    .set FLAT, 0x18
    .set SMALL, 0x20            /* 256 bytes */
    .set CODE32, 0x28
    .set DATA0, 0x30            /* 4 GiB at 0 */
    .set TASK, 0x38
    .balign 8
gdt:
    .quad   0, 0x00009a000000ffff, 0x000092030000ffff, 0x008f92000000ffff, 0x00009200000000ff, 0x00cf9a000000ffff
    .quad   0x00cf92000000ffff
gdt_task:
    .quad   0x0000890000000067
gdt_end:
gdtr:
    .word   gdt_end - gdt - 1
    .long   gdt
modes:
    smsw    %ax
    and     $1, %ax
    EQUAL   0, "SMSW: real mode"
    cli
    lgdt    gdtr
    mov     %cr0, %eax
    or      $1, %al
    mov     %eax, %cr0
    ljmp    $CODE16, $1f
1:  mov     $DATA16, %ax
    mov     %ax, %es
    movw    $0x7272, %es:0x20
    mov     $FLAT, %ax
    mov     %ax, %fs
    lar     %ax, %cx
    mov     $SMALL, %ax
    lsl     %ax, %dx
    mov     $0x48, %ax          /* beyond the table */
    verr    %ax
    setz    %bl
    mov     %cr0, %eax
    and     $0xfe, %al
    mov     %eax, %cr0
    ljmp    $0, $1f
1:  xor     %ax, %ax
    mov     %ax, %es
    sti
    mov     %cx, %ax
    EQUAL   0x9300, "protected mode: LAR, and the descriptor is accessed"
    mov     %dx, %ax
    EQUAL   0xff, "protected mode: LSL"
    movzx   %bl, %ax
    EQUAL   0, "protected mode: VERR beyond the table"
    mov     $0x30020, %ebx
    mov     %fs:(%ebx), %ax
    EQUAL   0x7272, "back in real mode: FS keeps its limit"
    mov     $SPARE, %ax
    mov     %ax, %fs
    mov     %fs:0x20, %ax
    EQUAL   0x7272, "and takes a new base"
    mov     $0x10000, %ebx
    mov     %fs:(%ebx), %al     /* no exception: real mode loads no limit */
    mov     $1, %ax
    EQUAL   1, "and still keeps the limit"
    ret

/* ---- virtual-8086 mode: a monitor in 32 bits notes what its task may not do ------------------------------------- */
    .set IDT, 0x40000
    .set TSS, 0x41000
    .set STACK0, 0x42000
idtr:
    .word   14 * 8 - 1
    .long   IDT
real_idtr:
    .word   0x3ff
    .long   0
virtual_8086:
    mov     %sp, old_sp
    cli
    mov     $TSS >> 4, %ax
    mov     %ax, %es
    xor     %di, %di
    mov     $0x68 / 2, %cx
    xor     %ax, %ax
    rep stosw
    movl    $STACK0, %es:4      /* ESP0, SS0, no I/O map */
    movw    $DATA0, %es:8
    movw    $0x68, %es:0x66
    movl    $(TSS & 0xffff) << 16 | 0x67, gdt_task
    movl    $0x8900 | TSS >> 16, gdt_task + 4
    mov     $IDT >> 4, %ax
    mov     %ax, %es
    movw    $monitor, %es:13 * 8
    movw    $CODE32, %es:13 * 8 + 2
    movl    $0x8e00, %es:13 * 8 + 4
    lgdt    gdtr
    lidt    idtr
    mov     %cr0, %eax
    or      $1, %al
    mov     %eax, %cr0
    ljmp    $CODE32, $1f
    .code32
1:  mov     $DATA0, %eax
    mov     %eax, %ds
    mov     %eax, %es
    mov     %eax, %ss
    mov     $STACK0, %esp
    mov     $TASK, %eax
    ltr     %ax
    pushl   $0                  /* GS, FS, DS, ES, SS, ESP, flags with VM and IOPL 0, CS, EIP */
    pushl   $0
    pushl   $SPARE
    pushl   $0
    pushl   $0
    pushl   $0x7000
    pushl   $0x20002
    pushl   $0
    pushl   $task
    iret
monitor:                        /* each fault: the byte there is kept, and skipped; HLT ends it */
    pushal
    mov     %ds, %ecx
    mov     $DATA0, %eax
    mov     %eax, %ds
    mov     %ecx, monitor_ds
    mov     36(%esp), %ebx      /* EIP; CS is 0 */
    mov     n_noted, %edi
    mov     (%ebx), %al
    mov     %al, noted(%edi)
    incl    n_noted
    cmp     $0xf4, %al
    je      1f
    mov     44(%esp), %eax      /* the flags of the task */
    mov     %eax, task_flags
    incl    36(%esp)
    cmpb    $0xcd, (%ebx)
    jne     2f
    incl    36(%esp)            /* INT n: two bytes */
2:  popal
    add     $4, %esp
    iret
1:  mov     60(%esp), %eax      /* DS of the task */
    mov     %eax, task_ds
    mov     $DATA16, %eax       /* real mode's segments have 64 KiB */
    mov     %eax, %ds
    mov     %eax, %es
    mov     %eax, %ss
    mov     %eax, %fs
    mov     %eax, %gs
    ljmp    $CODE16, $1f
    .code16
1:  mov     %cr0, %eax
    and     $0xfe, %al
    mov     %eax, %cr0
    ljmp    $0, $1f
1:  xor     %ax, %ax
    mov     %ax, %ds
    mov     %ax, %es
    mov     %ax, %ss
    mov     old_sp, %sp
    lidt    real_idtr
    sti
    mov     n_noted, %ax
    EQUAL   5, "virtual-8086 mode: five instructions are the monitor's"
    mov     noted, %ax
    EQUAL   0xfbfa, "CLI, STI"
    mov     noted + 2, %ax
    EQUAL   0xcd9c, "PUSHF, INT"
    mov     noted + 4, %al
    mov     $0, %ah
    EQUAL   0xf4, "HLT"
    mov     task_flags + 2, %ax
    and     $2, %ax             /* a fault sets RF, too */
    EQUAL   2, "its flags have VM set"
    mov     task_ds, %ax
    EQUAL   SPARE, "its segments are on the monitor's stack"
    mov     monitor_ds, %ax
    EQUAL   0, "and the monitor begins with none"
    mov     task_said, %ax
    EQUAL   0x7272, "the task's segments are 16 times their number"
    ret
task:
    mov     0x20, %ax           /* of SPARE */
    mov     %ax, %es:task_said
    cli
    sti
    pushf
    int     $0x21
    hlt
    .balign 4
n_noted:
    .long   0
noted:
    .fill   16
task_flags:
    .long   0
task_ds:
    .long   0
monitor_ds:
    .long   0
task_said:
    .word   0

    .balign 16
buffer:
    .fill   128
    .org    512 + BODY_SECTORS * 512
