/* SPDX-License-Identifier: MIT
 * CR0.TS, CR0.EM and CR0.MP without an operating system: what each instruction of the x87 and vector units raises under
 * them, in the kernel, in 64-bit and in 32-bit programs; and that no way from code to code, however often it was taken
 * with TS clear, leads past the check.  Linked with processors/start.S.  Prints TAP, and a line for each instruction
 * that is the same on any processor; ends the run through port 0xf4. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

enum { MP = 2, EM = 4, TS = 8 };
enum { UD = 6, NM = 7, DONE = 14 /* the load that ends each piece of code */ };
enum { SEL_CODE = 0x18, SEL_DATA = 0x10, SEL_USER32 = 0x20 | 3, SEL_USER_DATA = 0x28 | 3, SEL_USER = 0x30 | 3, SEL_TSS = 0x38 };

volatile u32 ipis;
u64 caught, caught_rip, back_rsp, handler_continues;
u8 code[32][8192] __attribute__((aligned(4096)));
static u8 area[4096] __attribute__((aligned(64))), user_stack[4096] __attribute__((aligned(64)));
static u8 trap_stack[4096] __attribute__((aligned(64)));
static u64 gdt[9];
static u32 tss[26];
static struct { u16 low, selector, kind, middle; u32 high, zero; } idt[256];
static u64 xcr0;
static int bad;

void other(void) { }
static void outb(u16 port, u8 v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }
static void put(const char *s)
{
	while (*s)
		outb(0x3f8, (u8)*s++);
}

static void put_hex(u64 v)
{
	for (int i = v > 0xff ? 28 : 4; i >= 0; i -= 4)
		outb(0x3f8, (u8)"0123456789abcdef"[v >> i & 15]);
}

static void result(int good, const char *name)
{
	put(good ? "ok " : "not ok ");
	put(name);
	put("\n");
	bad |= !good;
}

/* Vectors: error codes are dropped, the vector noted; then either back to run(), or, for #NM where `handler_continues`
 * is set, CLTS and on with the program. */
__asm__(
	"	.text\n"
	"vectors:\n"
	"	.set n, 0\n"
	"	.rept 256\n"
	"	.balign 16\n"
	"	.if n == 8 || (n >= 10 && n <= 14) || n == 17\n"
	"	.else\n"
	"	push $0\n"
	"	.endif\n"
	"	push $n\n"
	"	jmp common\n"
	"	.set n, n + 1\n"
	"	.endr\n"
	"common:\n"
	"	push %rax\n"
	"	mov 8(%rsp), %rax\n"
	"	mov %rax, caught\n"
	"	mov 24(%rsp), %rax\n"
	"	mov %rax, caught_rip\n"
	"	cmpq $0, handler_continues\n"
	"	je 1f\n"
	"	cmpq $7, 8(%rsp)\n"
	"	jne 1f\n"
	"	decq handler_continues\n"
	"	clts\n"
	"	pop %rax\n"
	"	add $16, %rsp\n"
	"	iretq\n"
	"1:	mov back_rsp, %rsp\n"
	"	mov $0x10, %eax\n"
	"	mov %eax, %ds\n"
	"	mov %eax, %es\n"
	"	pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n"
	"	ret\n"
	/* run(cs, ss, rip, rsp): RDI is the area, EAX 1, EBX `rip`, and nothing is mapped at RBP; until something is raised. */
	"run:\n"
	"	push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
	"	mov %rsp, back_rsp\n"
	"	push %rsi\n push %rcx\n push $2\n push %rdi\n push %rdx\n"
	"	test $3, %edi\n"
	"	jz 2f\n"
	"	mov %esi, %ds\n"
	"	mov %esi, %es\n"
	"2:	mov %rdx, %rbx\n"
	"	mov $area, %edi\n"
	"	mov $1, %eax\n"
	"	xor %ecx, %ecx\n"
	"	xor %edx, %edx\n"
	"	mov $0x40000000, %ebp\n"
	"	iretq\n"
	/* What SYSCALL enters: back at once, or with an x87 instruction first where R15 is set. */
	"entry:\n"
	"	swapgs\n"
	"	test %r15, %r15\n"
	"	jnz 3f\n"
	"	swapgs\n"
	"	sysretq\n"
	"3:	fninit\n"
	"	swapgs\n"
	"	sysretq\n");
extern u8 vectors[], entry[];
void run(u64 cs, u64 ss, u64 rip, u64 rsp);

static u64 read_cr0(void)
{
	u64 v;

	__asm__ volatile("mov %%cr0, %0" : "=r"(v));
	return v;
}

/* By each of the instructions that do so. */
static void set_cr0(u32 bits, int how)
{
	u64 cr0 = (read_cr0() & ~(u64)(MP | EM | TS)) | bits;

	if (how == 1) {
		__asm__ volatile("lmsw %w0" : : "r"(cr0) : "memory");
	} else if (how == 2 && !(bits & TS)) {
		__asm__ volatile("mov %0, %%cr0; clts" : : "r"(cr0 | TS) : "memory");
	} else {
		__asm__ volatile("mov %0, %%cr0" : : "r"(cr0) : "memory");
	}
}

static void wrmsr(u32 msr, u64 v) { __asm__ volatile("wrmsr" : : "c"(msr), "a"((u32)v), "d"((u32)(v >> 32)) : "memory"); }
static u64 rdmsr(u32 msr)
{
	u32 a, d;

	__asm__ volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(msr));
	return (u64)d << 32 | a;
}

static void cpuid(u32 leaf, u32 sub, u32 r[4])
{
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(sub));
}

static void set_up(void)
{
	struct __attribute__((packed)) { u16 limit; u64 base; } p = { sizeof gdt - 1, (u64)gdt };
	u64 cr3, cr4, base = (u64)tss;
	u32 r[4];

	gdt[2] = 0x00cf93000000ffff;
	gdt[3] = 0x00af9b000000ffff;
	gdt[4] = 0x00cffb000000ffff;
	gdt[5] = 0x00cff3000000ffff;
	gdt[6] = 0x00affb000000ffff;
	gdt[7] = 103 | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	tss[1] = (u32)(u64)(trap_stack + sizeof trap_stack);
	__asm__ volatile("lgdt %0; ltr %w1" : : "m"(p), "r"(SEL_TSS) : "memory");
	for (u32 n = 0; n < 256; n++) {
		u64 at = (u64)vectors + 16 * n;

		idt[n].low = (u16)at;
		idt[n].selector = SEL_CODE;
		idt[n].kind = 0xee00;
		idt[n].middle = (u16)(at >> 16);
	}
	p.limit = sizeof idt - 1;
	p.base = (u64)idt;
	__asm__ volatile("lidt %0" : : "m"(p));
	/* Programs may use everything. */
	__asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
	u64 *top = (u64 *)cr3, *pointers = (u64 *)(*top & ~0xfffull);

	*top |= 4;
	for (int i = 0; i < 4; i++) {
		u64 *directory = (u64 *)(pointers[i] & ~0xfffull);

		pointers[i] |= 4;
		for (int n = 0; n < 512; n++)
			directory[n] |= 4;
	}
	*(u64 *)(pointers[1] & ~0xfffull) = 0;
	__asm__ volatile("mov %0, %%cr3" : : "r"(cr3) : "memory");
	cpuid(0xd, 0, r);
	xcr0 = r[0] & 0xe7;
	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	cr4 |= 0x600 | 1u << 18;
	__asm__ volatile("mov %0, %%cr0" : : "r"(read_cr0() | 1u << 16) : "memory");
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4) : "memory");
	__asm__ volatile("xsetbv" : : "c"(0), "a"((u32)xcr0), "d"(0));
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 1);
	wrmsr(0xc0000081, (u64)(SEL_USER32 & ~3u) << 48 | (u64)SEL_CODE << 32);
	wrmsr(0xc0000082, (u64)entry);
	wrmsr(0xc0000084, 0x47fd5);
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
}

/* SYSCALL loads SS from CS + 8, so that its kernel half needs a descriptor behind SEL_CODE; only its selector counts. */

enum unit { NONE, X87, WAIT, FX, MMX, SSE, AVX, XSAVE };
static const struct { const char *name; u8 unit, xcr0, n, b[9]; } insns[] = {
	{ "fninit", X87, 0, 2, { 0xdb, 0xe3 } }, { "fld1", X87, 0, 2, { 0xd9, 0xe8 } },
	{ "fnstsw ax", X87, 0, 2, { 0xdf, 0xe0 } }, { "fnstcw [rdi]", X87, 0, 2, { 0xd9, 0x3f } },
	{ "fnop", X87, 0, 2, { 0xd9, 0xd0 } }, { "fisttp [rdi]", X87, 0, 2, { 0xdb, 0x0f } },
	{ "fwait", WAIT, 0, 1, { 0x9b } },
	{ "emms", MMX, 0, 2, { 0x0f, 0x77 } }, { "paddb mm0, mm1", MMX, 0, 3, { 0x0f, 0xfc, 0xc1 } },
	{ "movd mm0, eax", MMX, 0, 3, { 0x0f, 0x6e, 0xc0 } }, { "pabsb mm0, mm1", MMX, 0, 4, { 0x0f, 0x38, 0x1c, 0xc1 } },
	{ "palignr mm0, mm1, 8", MMX, 0, 5, { 0x0f, 0x3a, 0x0f, 0xc1, 8 } }, { "movq [rdi], mm0", MMX, 0, 3, { 0x0f, 0x7f, 0x07 } },
	{ "xorps xmm0, xmm0", SSE, 0, 3, { 0x0f, 0x57, 0xc0 } }, { "pxor xmm0, xmm0", SSE, 0, 4, { 0x66, 0x0f, 0xef, 0xc0 } },
	{ "movups [rdi], xmm0", SSE, 0, 3, { 0x0f, 0x11, 0x07 } }, { "stmxcsr [rdi]", SSE, 0, 3, { 0x0f, 0xae, 0x1f } },
	{ "ldmxcsr [rdi]", SSE, 0, 3, { 0x0f, 0xae, 0x17 } }, { "cvtsi2sd xmm0, eax", SSE, 0, 4, { 0xf2, 0x0f, 0x2a, 0xc0 } },
	{ "pshufb xmm0, xmm0", SSE, 0, 5, { 0x66, 0x0f, 0x38, 0x00, 0xc0 } }, { "aesenc xmm0, xmm1", SSE, 0, 5, { 0x66, 0x0f, 0x38, 0xdc, 0xc1 } },
	{ "pclmulqdq xmm0, xmm1, 0", SSE, 0, 6, { 0x66, 0x0f, 0x3a, 0x44, 0xc1, 0 } }, { "movntps [rdi], xmm0", SSE, 0, 3, { 0x0f, 0x2b, 0x07 } },
	{ "fxsave [rdi]", FX, 0, 3, { 0x0f, 0xae, 0x07 } }, { "fxrstor [rdi]", FX, 0, 3, { 0x0f, 0xae, 0x0f } },
	{ "vxorps xmm0, xmm0, xmm0", AVX, 4, 4, { 0xc5, 0xf8, 0x57, 0xc0 } }, { "vzeroupper", AVX, 4, 3, { 0xc5, 0xf8, 0x77 } },
	{ "vmovups [rdi], ymm0", AVX, 4, 4, { 0xc5, 0xfc, 0x11, 0x07 } },
	{ "kmovw k0, eax", AVX, 0xe0, 4, { 0xc5, 0xf8, 0x92, 0xc0 } }, { "vpxord zmm0, zmm0, zmm0", AVX, 0xe0, 6, { 0x62, 0xf1, 0x7d, 0x48, 0xef, 0xc0 } },
	{ "xsave [rdi]", XSAVE, 1, 3, { 0x0f, 0xae, 0x27 } }, { "xrstor [rdi]", XSAVE, 1, 3, { 0x0f, 0xae, 0x2f } },
	{ "xgetbv", NONE, 1, 3, { 0x0f, 0x01, 0xd0 } }, { "lfence", NONE, 0, 3, { 0x0f, 0xae, 0xe8 } },
	{ "sfence", NONE, 0, 3, { 0x0f, 0xae, 0xf8 } }, { "prefetcht0 [rdi]", NONE, 0, 3, { 0x0f, 0x18, 0x0f } },
	{ "popcnt eax, eax", NONE, 0, 4, { 0xf3, 0x0f, 0xb8, 0xc0 } }, { "crc32 eax, eax", NONE, 0, 5, { 0xf2, 0x0f, 0x38, 0xf1, 0xc0 } },
	{ "movnti [rdi], eax", NONE, 0, 3, { 0x0f, 0xc3, 0x07 } }, { "andn eax, eax, eax", NONE, 4, 5, { 0xc4, 0xe2, 0x78, 0xf2, 0xc0 } },
	{ "rorx eax, eax, 4", NONE, 4, 6, { 0xc4, 0xe3, 0x7b, 0xf0, 0xc0, 4 } },
};
#define INSNS (sizeof insns / sizeof *insns)

/* SDM volume 3, tables 2-2 and 13-1. */
static u64 expected(u8 unit, u32 cr0)
{
	switch (unit) {
	case WAIT: return (cr0 & (MP | TS)) == (MP | TS) ? NM : DONE;
	case X87: case FX: return cr0 & (EM | TS) ? NM : DONE;
	case MMX: case SSE: return cr0 & EM ? UD : cr0 & TS ? NM : DONE;
	case AVX: case XSAVE: return cr0 & TS ? NM : DONE;
	default: return DONE;
	}
}

static const struct { const char *name; u16 cs, ss; } worlds[] = {
	{ "kernel", SEL_CODE, SEL_DATA }, { "user", SEL_USER, SEL_USER_DATA }, { "32-bit", SEL_USER32, SEL_USER_DATA },
};

static u64 go(int world, const u8 *at)
{
	caught = caught_rip = 0;
	run(worlds[world].cs, worlds[world].ss, (u64)at, (u64)(user_stack + sizeof user_stack - 64));
	set_cr0(MP, 0);
	return caught;
}

/* What XRSTOR, FXRSTOR and LDMXCSR load. */
static void prepare_area(u8 unit)
{
	for (u32 i = 0; i < sizeof area; i++)
		area[i] = 0;
	if (unit == FX)
		__asm__ volatile("fxsave %0" : "=m"(area));
	else if (unit != XSAVE)
		*(u32 *)area = 0x1f80;
}

static void each_instruction(void)
{
	u8 *at = code[0];
	u32 wrong = 0;

	for (u32 i = 0; i < INSNS; i++) {
		if (insns[i].xcr0 & ~xcr0)
			continue;
		for (u32 n = 0; n < insns[i].n; n++)
			at[n] = insns[i].b[n];
		at[insns[i].n] = 0x8a; /* mov al, [rbp] */
		at[insns[i].n + 1] = 0x45;
		at[insns[i].n + 2] = 0;
		put("# ");
		put(insns[i].name);
		put(":");
		for (int world = 0; world < 3; world++) {
			for (u32 round = 0; round < 24; round++) {
				u32 bits = (round * 5 % 8) << 1;

				prepare_area(insns[i].unit);
				set_cr0(bits, (int)(round / 8));
				u64 got = go(world, at), want = expected(insns[i].unit, bits);
				u64 rip = (u64)at + (got == DONE ? insns[i].n : 0u);

				if (round < 8) {
					put(" ");
					put_hex(got);
				}
				if (got != want || caught_rip != rip) {
					wrong++;
					put(" [");
					put(worlds[world].name);
					put(" cr0 ");
					put_hex(bits);
					put(" wants ");
					put_hex(want);
					put(" got ");
					put_hex(got);
					put(" at ");
					put_hex(caught_rip - (u64)at);
					put("]");
				}
			}
		}
		put("\n");
		at += 32;
	}
	result(!wrong, "each instruction raises what it should under TS, EM and MP, in each world");
}

/* ---- ways from code to code ---- */

static u8 *p;
static void emit(u32 n, ...)
{
	__builtin_va_list ap;

	__builtin_va_start(ap, n);
	while (n--)
		*p++ = (u8)__builtin_va_arg(ap, int);
	__builtin_va_end(ap);
}

static void emit32(u64 v)
{
	for (int i = 0; i < 32; i += 8)
		*p++ = (u8)(v >> i);
}
static void jump(u8 op, const u8 *to) { *p++ = op; emit32((u64)(to - (p + 4))); }
static void load_eax(const u8 *v) { *p++ = 0xb8; emit32((u64)v); }
static void guarded_end(void) { emit(6, 0x0f, 0x28, 0x07, 0x8a, 0x45, 0); /* movaps xmm0, [rdi] */ }

/* Each writes code from `c` on and returns where the vector instruction is. */
static u8 *way_direct(u8 *c) { p = c; jump(0xe9, c + 64); p = c + 64; guarded_end(); return c + 64; }
static u8 *way_conditional(u8 *c) { p = c; emit(4, 0x85, 0xc0, 0x75, 62 - 2); p = c + 64; guarded_end(); return c + 64; }
static u8 *way_fall_through(u8 *c) { p = c; for (int i = 0; i < 200; i++) emit(1, 0x90); guarded_end(); return c + 200; }
static u8 *way_far(u8 *c) { p = c; jump(0xe9, c + 4096 + 64); p = c + 4096 + 64; guarded_end(); return c + 4096 + 64; }
static u8 *way_call(u8 *c) { p = c; jump(0xe8, c + 64); p = c + 64; guarded_end(); return c + 64; }
static u8 *way_indirect(u8 *c) { p = c; load_eax(c + 64); emit(2, 0xff, 0xe0); p = c + 64; guarded_end(); return c + 64; }
static u8 *way_indirect_far(u8 *c) { p = c; load_eax(c + 4200); emit(2, 0xff, 0xe0); p = c + 4200; guarded_end(); return c + 4200; }
static u8 *returns_from(u8 *c, u8 *callee)
{
	u8 *at;

	p = c;
	jump(0xe8, callee);
	at = p;
	guarded_end();
	p = callee;
	emit(1, 0xc3);
	return at;
}
static u8 *way_return(u8 *c) { return returns_from(c, c + 128); }
static u8 *way_return_far(u8 *c) { return returns_from(c, c + 4096); }
/* Three targets in turn at one place, so that none is predicted: ECX counts, EAX is the target. */
static u8 *way_many(u8 *c)
{
	p = c;
	emit(5, 0xb9, 12, 0, 0, 0);                     /* mov ecx, 12 */
	load_eax(c + 64);
	emit(2, 0xff, 0xe0);                            /* jmp rax */
	p = c + 32;                                     /* again: rax = c + 64 + (ecx & 3) * 32 */
	emit(2, 0x89, 0xc8);
	emit(3, 0x83, 0xe0, 3);
	emit(3, 0xc1, 0xe0, 5);
	emit(1, 0x05);
	emit32((u64)c + 64);
	emit(2, 0xff, 0xe0);
	for (int i = 0; i < 4; i++) {
		p = c + 64 + 32 * i;
		emit(3, 0x83, 0xe9, 1);                 /* sub ecx, 1 */
		if (i == 3)
			emit(4, 0x85, 0xc9, 0x78, 0);   /* (never) */
		jump(0x0f, c);                          /* overwritten: */
		p -= 5;
		emit(2, 0x0f, 0x85);                    /* jnz again */
		emit32((u64)(c + 32 - (p + 4)));
		jump(0xe9, c + 1024);
	}
	p = c + 1024;
	guarded_end();
	return c + 1024;
}
static u8 *way_syscall(u8 *c)
{
	p = c;
	emit(3, 0x45, 0x31, 0xff); /* xor r15d, r15d */
	emit(2, 0x0f, 0x05);
	u8 *at = p;

	guarded_end();
	return at;
}

#define KERNEL 1
#define USER 2
#define USER32 4
static const struct { const char *name; u8 *(*make)(u8 *c); u8 where; } ways[] = {
	{ "a direct jump", way_direct, 7 }, { "a conditional jump", way_conditional, 7 }, { "the next block", way_fall_through, 7 },
	{ "a jump to another page", way_far, 7 }, { "a call", way_call, 7 }, { "an indirect jump", way_indirect, 7 },
	{ "an indirect jump to another page", way_indirect_far, 7 }, { "a return", way_return, 7 },
	{ "a return to another page", way_return_far, 7 }, { "an indirect jump with many targets", way_many, 7 },
	{ "SYSCALL and SYSRET", way_syscall, USER },
};

/* With TS clear and set in turn, so that whatever was learnt in the one is there in the other. */
static void each_way(void)
{
	for (u32 i = 0; i < sizeof ways / sizeof *ways; i++) {
		int wrong = 0;
		u8 *at = ways[i].make(code[2 + i]);

		for (int world = 0; world < 3; world++) {
			for (u32 round = 0; ways[i].where >> world & 1 && round < 40; round++) {
				u32 bits = round % 8 < 4 ? MP : MP | TS;

				set_cr0(bits, (int)(round % 3));
				u64 got = go(world, code[2 + i]);

				if (got != (bits & TS ? NM : DONE) || caught_rip != (u64)at + (bits & TS ? 0 : 3)) {
					wrong++;
					put("# ");
					put(worlds[world].name);
					put(bits & TS ? " TS " : " ");
					put_hex(got);
					put(" at ");
					put_hex(caught_rip - (u64)code[2 + i]);
					put("\n");
				}
			}
		}
		put(wrong ? "not ok " : "ok ");
		put(ways[i].name);
		put(" does not lead past the check\n");
		bad |= wrong;
	}
}

/* The kernel's own code, behind a gate that is open while TS is clear. */
static void in_system_call(void)
{
	int wrong = 0;

	p = code[16];
	emit(6, 0x41, 0xbf, 1, 0, 0, 0); /* mov r15d, 1 */
	emit(5, 0x0f, 0x05, 0x8a, 0x45, 0);
	for (u32 round = 0; round < 40; round++) {
		set_cr0(round % 8 < 4 ? MP : MP | TS, 0);
		wrong += go(1, code[16]) != (round % 8 < 4 ? DONE : NM);
		if (caught == NM)
			__asm__ volatile("swapgs");
	}
	result(!wrong, "a system call's own x87 instruction raises #NM");
}

/* As kernels do that give the units to a program when it first uses them. */
static void lazily(void)
{
	int wrong = 0;
	u32 seven = 7;

	for (int world = 0; world < 3; world++) {
		p = code[17 + world];
		emit(5, 0xb8, 0, 0, 0, 0);                   /* mov eax, 0 */
		emit(3, 0x83, 0xc0, 7);                      /* add eax, 7 */
		u8 *at = p;

		emit(4, 0x66, 0x0f, 0x6e, 0xc0);             /* movd xmm0, eax */
		emit(4, 0x66, 0x0f, 0xfe, 0xc0);             /* paddd xmm0, xmm0 */
		emit(4, 0x66, 0x0f, 0x7e, 0x07);             /* movd [rdi], xmm0 */
		emit(3, 0x8a, 0x45, 0);
		for (u32 round = 0; round < 12; round++) {
			*(volatile u32 *)area = 0;
			set_cr0(round % 3 ? MP | TS : MP, 0);
			handler_continues = round % 3 != 0;
			u64 got = go(world, code[17 + world]);

			wrong += got != DONE || *(volatile u32 *)area != 2 * seven || handler_continues || caught_rip != (u64)at + 12;
		}
	}
	handler_continues = 0;
	result(!wrong, "a program goes on behind #NM and CLTS with the right result");
}

/* TS changes in the middle of what would be one block. */
static void in_the_middle(void)
{
	u64 with = read_cr0() | TS;
	int wrong = 0;

	for (u32 round = 0; round < 6; round++) {
		p = code[20];
		emit(3, 0x0f, 0x57, 0xc0);                   /* xorps */
		emit(1, 0xb8);
		emit32(with);                                /* mov eax, cr0 with TS */
		emit(3, 0x0f, 0x22, 0xc0);                   /* mov cr0, rax */
		emit(2, 0x90, 0x90);
		u8 *at = p;

		emit(3, 0x0f, 0x57, 0xc0);
		emit(3, 0x8a, 0x45, 0);
		set_cr0(MP, 0);
		wrong += go(0, code[20]) != NM || caught_rip != (u64)at;
		p = code[21];
		emit(4, 0x90, 0x90, 0x0f, 0x06);             /* clts */
		emit(3, 0x0f, 0x57, 0xc0);
		emit(3, 0x8a, 0x45, 0);
		set_cr0(MP | TS, 0);
		wrong += go(0, code[21]) != DONE;
	}
	result(!wrong, "TS counts from the instruction that changes it");
}

/* #NM comes before what the operand raises, #UD for a LOCK prefix before #NM; a single step ends with it. */
static void order(void)
{
	int wrong = 0;

	p = code[22];
	emit(3, 0x48, 0x31, 0xff);                           /* xor rdi, rdi */
	emit(7, 0x48, 0xc7, 0xc7, 0, 0, 0, 0xc0);            /* rdi = nowhere */
	emit(3, 0x0f, 0x11, 0x07);                           /* movups [rdi], xmm0 */
	set_cr0(MP | TS, 0);
	wrong += go(1, code[22]) != NM;
	set_cr0(MP, 0);
	wrong += go(1, code[22]) != 14 || caught_rip != (u64)code[22] + 10;
	p = code[23];
	emit(4, 0xf0, 0x0f, 0x57, 0xc0);                     /* lock xorps */
	set_cr0(MP | TS, 0);
	wrong += go(1, code[23]) != UD;
	p = code[24];
	emit(4, 0x9c, 0x80, 0x4c, 0x24);                     /* pushf; or byte [rsp + 1], 1 */
	emit(3, 1, 1, 0x9d);                                 /* popf */
	emit(1, 0x90);
	emit(3, 0x0f, 0x57, 0xc0);
	set_cr0(MP | TS, 0);
	wrong += go(1, code[24]) != 1 || caught_rip != (u64)code[24] + 8;
	p = code[25];
	emit(4, 0x9c, 0x80, 0x4c, 0x24);
	emit(3, 1, 1, 0x9d);
	emit(3, 0x0f, 0x57, 0xc0);
	set_cr0(MP | TS, 0);
	wrong += go(1, code[25]) != NM || caught_rip != (u64)code[25] + 7;
	set_cr0(MP, 0);
	wrong += go(1, code[25]) != 1 || caught_rip != (u64)code[25] + 10;
	p = code[26];
	emit(4, 0x9c, 0x80, 0x4c, 0x24);
	emit(3, 1, 1, 0x9d);
	emit(2, 0x9b, 0x90);                                 /* FWAIT that TS does not concern, stepped */
	set_cr0(TS, 0);
	wrong += go(1, code[26]) != 1 || caught_rip != (u64)code[26] + 8;
	result(!wrong, "#NM among other exceptions and single steps");
}

void kernel_main(void *info)
{
	(void)info;
	set_up();
	each_instruction();
	each_way();
	in_system_call();
	in_the_middle();
	lazily();
	order();
	outb(0xf4, bad ? 1 : 21);
	for (;;)
		__asm__ volatile("cli; hlt");
}
