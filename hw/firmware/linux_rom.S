/* An option ROM that boots the Linux kernel in fw_cfg, for BIOSes (SeaBIOS runs it from "genroms/"). Written
 * from the PnP BIOS specification 1.0a (bootstrap entry vector), QEMU's docs/specs/fw_cfg and Linux's
 * Documentation/arch/x86/boot.rst. The bytes in linux_rom.c are this file's; scripts/gen-linux-rom --check compares.
 * linux_rom_make pads it and puts the checksums in. */
    .code16
    .section .rodata
    .globl linux_rom_source, linux_rom_source_end

    .set SELECTOR, 0x510            /* fw_cfg's ports */
    .set DATA, 0x511
    .set DMA_HIGH, 0x514
    .set DMA_LOW, 0x518
    .set DMA_READ_SELECTED, 0x0a    /* select and read */
    .set DMA_ERROR, 1
    .set STACK, 0xe000              /* LINUX_ROM_STACK, inside the real-mode code's segment */
    .set SETUP_ADDR, 0x16

linux_rom_source:
    .word 0xaa55
    .byte 2                         /* 512-byte blocks: LINUX_ROM_SIZE */
    lret                            /* offset 3: nothing to set up */
    .org linux_rom_source + 6
    .byte 0                         /* checksum */
    .org linux_rom_source + 0x1a
    .word pnp - linux_rom_source

    .balign 16
pnp:
    .ascii "$PnP"
    .byte 1, 2                      /* revision, length / 16 */
    .word 0                         /* no further header */
    .byte 0, 0                      /* reserved, checksum */
    .long 0                         /* device identifier */
    .word 0                         /* manufacturer */
    .word product - linux_rom_source
    .byte 0, 0, 0x80                /* device type */
    .byte 0x64                      /* initial program load device, not needed for display or input */
    .word 0, 0                      /* boot connection and disconnect vectors */
    .word boot - linux_rom_source
    .word 0, 0

product:
    .asciz "Linux kernel"

    /* What to load: keys of address, size, data. */
items:
    .word 0x16, 0x17, 0x18          /* setup */
    .word 0x13, 0x14, 0x15          /* command line */
    .word 0x07, 0x08, 0x11          /* kernel */
    .word 0x0a, 0x0b, 0x12          /* initrd */
items_end:

boot:
    cli
    cld
    xor %ax, %ax
    mov %ax, %ss
    mov $0x7c00, %esp
    mov $items - linux_rom_source, %si
next:
    call number                     /* address */
    mov %eax, %edi
    call number                     /* size */
    mov %eax, %ebx
    mov %cs:(%si), %ax              /* data */
    add $2, %si
    test %ebx, %ebx
    jz 1f
    call load
1:  cmp $items_end - linux_rom_source, %si
    jne next

    mov $setup - linux_rom_source, %si
    call number
    shr $4, %eax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %fs
    mov %ax, %gs
    mov %ax, %ss
    mov $STACK, %esp
    add $0x20, %ax                  /* behind the boot sector */
    push %ax
    push $0
    xor %eax, %eax
    xor %ebx, %ebx
    xor %ecx, %ecx
    xor %edx, %edx
    xor %esi, %esi
    xor %edi, %edi
    xor %ebp, %ebp
    lret

setup:
    .word SETUP_ADDR

    /* The number of four bytes in the item whose key is at cs:si, to eax; si moves on. */
number:
    mov %cs:(%si), %ax
    add $2, %si
    mov $SELECTOR, %dx
    out %ax, %dx
    inc %dx
    mov $4, %cx
1:  in %dx, %al
    ror $8, %eax
    loop 1b
    ret

    /* Item ax, ebx bytes, to linear address edi. The request is built on the stack, in segment 0, big-endian. */
load:
    bswap %edi
    push %edi                       /* address, lower half */
    pushl $0                        /* and upper */
    bswap %ebx
    push %ebx
    shl $16, %eax
    mov $DMA_READ_SELECTED, %ax
    bswap %eax
    push %eax
    xor %eax, %eax
    mov $DMA_HIGH, %dx
    out %eax, %dx
    mov %esp, %eax
    bswap %eax
    mov $DMA_LOW, %dx
    out %eax, %dx
1:  mov %esp, %ebp
    mov (%bp), %eax                 /* bp addresses the stack's segment */
    bswap %eax
    test $~DMA_ERROR, %eax
    jnz 1b
    test %eax, %eax
    jnz failed
    add $16, %sp
    ret

failed:
    hlt
    jmp failed
linux_rom_source_end:
