# The same for x86-64: started by PVH in 32 bits, goes to 64, maps memory, and runs a user program with a software
# interrupt, a page fault and a system call, which then counts for ever.
        .section .note.pvh, "a", @note
        .long   4, 4, 18                # "Xen", PHYS32_ENTRY
        .asciz  "Xen"
        .long   entry32

        .text
        .code32
        .globl  entry32, kernel64, to_user, user, user_int, user_load, user_loaded, user_call, user_loop, user_store
        .globl  user_stored, counter, hold, int_handler, fault_handler, call_handler
entry32:
        movl    $stack_end, %esp
        movl    $0x83, %ebx             # 2 MiB pages of the first gigabyte: the supervisor's
        movl    $directory, %edi
        movl    $512, %ecx
1:      movl    %ebx, (%edi)
        addl    $0x200000, %ebx
        addl    $8, %edi
        loop    1b
        orl     $4, directory + 2 * 8   # but the one from 4 MiB on
        movl    $0, directory + 3 * 8   # and the next, which is missing
        movl    $directory + 7, pointers
        movl    $pointers + 7, root
        movl    $0x20, %eax             # PAE
        movl    %eax, %cr4
        movl    $root, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx       # EFER: SCE, LME
        rdmsr
        orl     $0x101, %eax
        wrmsr
        movl    $0x80000011, %eax       # PG, ET, PE
        movl    %eax, %cr0
        lgdt    gdt_pointer
        ljmp    $8, $kernel64

        .code64
kernel64:
        movw    $0x10, %ax
        movw    %ax, %ss
        xorl    %eax, %eax
        movw    %ax, %ds
        movw    %ax, %es
        movl    $stack_end, %esp
        movl    $14, %ecx
        leaq    fault_handler(%rip), %rdx
        movl    $0x8e00, %ebx
        call    set_gate
        movl    $0x80, %ecx
        leaq    int_handler(%rip), %rdx
        movl    $0xee00, %ebx
        call    set_gate
        lidt    idt_pointer(%rip)
        leaq    task(%rip), %rax        # where the kernel's stack is
        movq    $stack_end, 4(%rax)
        movw    %ax, gdt + 0x28 + 2(%rip)
        shrl    $16, %eax
        movb    %al, gdt + 0x28 + 4(%rip)
        movw    $0x28, %ax
        ltr     %ax
        movl    $0xc0000081, %ecx       # STAR: kernel 8, user 0x10 + 16
        xorl    %eax, %eax
        movl    $0x00130008, %edx
        wrmsr
        movl    $0xc0000082, %ecx       # LSTAR
        leaq    call_handler(%rip), %rax
        xorl    %edx, %edx
        wrmsr
        movl    $0xc0000084, %ecx       # SFMASK
        xorl    %eax, %eax
        wrmsr
        pushq   $0x1b                   # SS, RSP, RFLAGS, CS, RIP of the user
        pushq   $user_stack_end
        pushq   $2
        pushq   $0x23
        pushq   $user
to_user:
        iretq

# Vector ecx, handler rdx, rights ebx.
set_gate:
        shll    $4, %ecx
        leaq    idt(%rip), %rdi
        addq    %rcx, %rdi
        movw    %dx, (%rdi)
        movw    $8, 2(%rdi)
        movw    %bx, 4(%rdi)
        shrl    $16, %edx
        movw    %dx, 6(%rdi)
        ret

int_handler:
        addq    $1, %rbx
        iretq
fault_handler:
        movl    $0x400087, directory + 3 * 8(%rip)  # what is at 4 MiB
        addq    $8, %rsp
        iretq
call_handler:
        movl    $42, %eax
        sysretq

        .balign 8
gdt:    .quad   0
        .quad   0x00af9b000000ffff      # 8: code
        .quad   0x00cf93000000ffff      # 0x10: data
        .quad   0x00cff3000000ffff      # 0x18: user's data
        .quad   0x00affb000000ffff      # 0x20: user's code
        .quad   0x0000890000000067, 0   # 0x28: task
gdt_pointer:
        .word   . - gdt - 1
        .quad   gdt
idt_pointer:
        .word   0x81 * 16 - 1
        .quad   idt

        .section .user, "awx"
user:                                   # a debugger may hold it here
        movl    hold(%rip), %eax
        testl   %eax, %eax
        jnz     user
        movl    $5, %ebx
        leaq    counter(%rip), %rdi
        movl    $100, %edx
user_spin:
        addl    $1, %ecx
        decl    %edx
        jnz     user_spin
        movq    %rbx, (%rdi)
user_set:
        movq    %rdx, (%rdi)
user_int:
        int     $0x80
        movl    $0x600000, %esi
user_load:
        movq    (%rsi), %rax
user_loaded:
        xorl    %ecx, %ecx
user_loop:
        movq    (%rdi), %rax
        addq    $1, %rax
user_store:
        movq    %rax, (%rdi)
user_stored:
        cmpq    $1000, %rax
        jne     user_loop
user_call:
        syscall
        jmp     user_loop
        .balign 8
counter:
        .quad   0
hold:   .quad   0
        .skip   256
user_stack_end:

        .bss
        .balign 4096
root:   .skip   4096
pointers:
        .skip   4096
directory:
        .skip   4096
idt:    .skip   4096
task:   .skip   0x68
        .skip   1024
stack_end:
