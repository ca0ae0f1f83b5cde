/* From the PVH entry (32-bit, no paging) to 64-bit mode with the first 4 GiB mapped as they are; the way of further
 * CPUs from real mode; an interrupt table whose entries all lead to on_interrupt. */
    .section .note.Xen, "a", @note
    .long 4, 4, 18
    .asciz "Xen"
    .long _start

    .section .text.start, "ax"
    .code32
    .globl _start
_start:
    cld
    mov %ebx, start_info
    mov $stack_end, %esp
    mov $tables, %edi
    lea 0x1003(%edi), %eax
    mov %eax, (%edi)                /* PML4 -> PDPT */
    lea 0x2003(%edi), %eax
    xor %ecx, %ecx
1:  mov %eax, 0x1000(%edi, %ecx, 8) /* PDPT -> 4 directories */
    add $0x1000, %eax
    inc %ecx
    cmp $4, %ecx
    jne 1b
    mov $0x83, %eax
    xor %ecx, %ecx
1:  mov %eax, 0x2000(%edi, %ecx, 8) /* pages of 2 MiB */
    add $0x200000, %eax
    inc %ecx
    cmp $2048, %ecx
    jne 1b
    mov $main_64, %esi
    /* esi: where to go on in 64-bit mode */
to_64:
    mov $tables, %eax
    mov %eax, %cr3
    mov %cr4, %eax
    or $0x620, %eax                 /* PAE, OSFXSR, OSXMMEXCPT */
    mov %eax, %cr4
    mov $0xc0000080, %ecx
    rdmsr
    or $0x100, %eax                 /* EFER.LME */
    wrmsr
    mov %cr0, %eax
    and $~0x60000000, %eax          /* caches on */
    or $0x80000001, %eax
    mov %eax, %cr0
    lgdt gdt_pointer
    ljmp $8, $1f
    .code64
1:  mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    lidt idt_pointer
    jmp *%rsi

main_64:
    mov $stack_end, %rsp
    mov start_info, %edi
    call rt_main
2:  hlt
    jmp 2b

/* A further CPU: copied to a page below 1 MiB, entered in real mode at its first byte. */
    .code16
    .globl ap_code, ap_code_end
ap_code:
    cli
    xor %ax, %ax
    mov %ax, %ds
    lgdtl %cs:(ap_gdt_pointer - ap_code)
    mov %cr0, %eax
    or $1, %eax
    mov %eax, %cr0
    ljmpl $24, $ap_32
ap_gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt
ap_code_end:
    .code32
ap_32:
    mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov $ap_64, %esi
    jmp to_64
    .code64
ap_64:
    mov $1, %eax
    lock xadd %eax, n_aps           /* each takes a stack */
    inc %eax
    mov %eax, %edi
    shl $12, %eax
    lea ap_stacks(%rax), %rsp
    call ap_main
3:  cli
    hlt
    jmp 3b

/* To real mode, and on to where a BIOS begins. bios_code has been copied to 0x8000. */
    .globl jump_to_bios, bios_code, bios_code_end
jump_to_bios:
    cli
    pushq $24
    pushq $1f
    lretq
    .code32
1:  mov $40, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %cr0, %eax
    and $0x7fffffff, %eax
    mov %eax, %cr0
    ljmp $32, $0x8000
    .code16
bios_code:
    mov %cr0, %eax
    and $~1, %eax
    mov %eax, %cr0
    ljmp $0xf000, $0xfff0
bios_code_end:
    .code64

    .balign 8
gdt:
    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff
    .quad 0x00009b000000ffff, 0x000093000000ffff /* 16-bit: 32 code, 40 data */
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt
idt_pointer:
    .word 256 * 16 - 1
    .quad idt

/* ---- interrupts ------------------------------------------------------------------------------------ */
    .text
    .macro stub n
    .balign 16
    .if \n == 8 || (\n >= 10 && \n <= 14) || \n == 17 || \n == 21
    .else
    pushq $0
    .endif
    pushq $\n
    jmp common
    .endm
    .balign 16
    .globl stubs
stubs:
    .altmacro
    .set i, 0
    .rept 256
    stub %i
    .set i, i + 1
    .endr
    .noaltmacro

common:
    push %rax
    push %rcx
    push %rdx
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    mov 72(%rsp), %rdi              /* vector */
    mov 80(%rsp), %rsi              /* error code */
    mov 88(%rsp), %rdx              /* rip */
    mov %rsp, %rax
    and $-16, %rsp
    push %rax
    push %rax
    call on_interrupt
    pop %rax
    mov %rax, %rsp
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rax
    add $16, %rsp
    iretq

    .bss
    .balign 4096
    .globl idt, n_aps
tables: .skip 6 * 4096
idt: .skip 4096
stack: .skip 16384
stack_end:
ap_stacks: .skip 16 * 4096
start_info: .skip 8
n_aps: .skip 4
