using System.Runtime.InteropServices;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>The products of four warps, <c>wgmma</c>, on matrices in both of shared memory's layouts.</summary>
public sealed class WarpgroupTests
{
    private const int Threads = 128;

    /// <summary>Two instructions deep.</summary>
    private const int Depth = 32;

    private const string Fence = "wgmma.fence.sync.aligned; ";
    private const string Commit = "wgmma.commit_group.sync.aligned; ";

    public static TheoryData<int, int, bool, bool, bool, bool> Cases
    {
        get
        {
            var cases = new TheoryData<int, int, bool, bool, bool, bool> { { 8, 64, false, true, true, true }, { 256, 64, false, true, true, false } };
            foreach (var (columns, line) in (ReadOnlySpan<(int, int)>)[(64, 64), (160, 64), (160, 128)])
            {
                for (var i = 0; i < 8; i++)
                {
                    cases.Add(columns, line, (i & 1) != 0, (i & 2) != 0, (i & 4) != 0, i is 1 or 2 or 4 or 7);
                }
            }

            return cases;
        }
    }

    /// <summary>Registers w0 and w1 become the descriptors of two matrices, the second so many bytes after the first.</summary>
    private static string Descriptors(Layout a, Layout b) =>
        $"mov.u32 s,dynamic; shr.u32 s,s,4; cvt.u64.u32 w0,s; add.s64 w1,w0,{a.Bytes / 16}; or.b64 w0,w0,{a.Offsets}; or.b64 w1,w1,{b.Offsets}; ";

    private static string Copy(int bytes) =>
        "mov.u32 b,dynamic; shl.b32 s,tid,4; add.s32 s,s,b; mul.wide.u32 w0,tid,16; add.s64 w0,w0,base; "
        + string.Concat(Enumerable.Range(0, bytes / 2048).Select(i => $"cp.async.cg.shared.global [s+{i * 2048}],[w0+{i * 2048}],16; "))
        + "cp.async.commit_group; ";

    private static string Product(int columns, string registers, string adds, bool transposedA, bool transposedB) =>
        $"wgmma.mma_async.sync.aligned.m64n{columns}k16.f32.f16.f16 {{{Registers(columns, registers)}}},w0,w1,{adds},1,1,{(transposedA ? 1 : 0)},{(transposedB ? 1 : 0)}; ";

    private static string InRegisters(int columns, string registers, string factors, string descriptor, string adds, bool transposedB) =>
        $"wgmma.mma_async.sync.aligned.m64n{columns}k16.f32.f16.f16 {{{Registers(columns, registers)}}},{{{factors}}},{descriptor},{adds},1,1,{(transposedB ? 1 : 0)}; ";

    private static string Wait(int left) => $"wgmma.wait_group.sync.aligned {left}; ";

    private static string Registers(int columns, string name) => string.Join(',', Enumerable.Range(0, columns / 2).Select(i => $"{name}{i}"));

    /// <summary>Integers, so that sums are exact in any order. Elsewhere in shared memory there is what is no number.</summary>
    [Theory]
    [MemberData(nameof(Cases))]
    public void Products_are_right(int columns, int line, bool transposedA, bool transposedB, bool late, bool adds)
    {
        Layout a = new(line, 64, transposedA), b = new(line, columns, transposedB);
        var random = new Random(7);
        var (left, right) = (Integers(random, 64), Integers(random, columns));
        var image = Image((a, left), (b, right));
        var words = new uint[(image.Length / 2) + (Threads * columns / 2)];
        PtxText.Words<Half>(image).CopyTo(words, 0);
        var registers = Enumerable.Range(0, columns / 2).ToArray();
        var statistics = PtxText.Run(
            $$"""
            .reg .b32 s,b; .reg .b64 w0,w1; .reg .pred p; .reg .f32 d<{{columns / 2}}>;
            {{Copy(image.Length * 2)}} cp.async.wait_all; fence.proxy.async; bar.sync 0;
            {{(adds ? string.Concat(registers.Select(i => $"mov.f32 d{i},0f40000000; ")) : "")}}
            {{Descriptors(a, b)}} mov.pred p,{{(adds ? 1 : 0)}}; {{Fence}}
            {{Product(columns, "d", "p", transposedA, transposedB)}}
            mov.pred p,1; add.s64 w0,w0,{{a.Step}}; add.s64 w1,w1,{{b.Step}};
            {{Product(columns, "d", "p", transposedA, transposedB)}}
            {{Commit}} {{Wait(0)}}
            {{string.Concat(registers.Select(i => $"st.global.f32 [at+{(image.Length * 2) + (i * Threads * 4)}],d{i}; "))}}
            """, words, Threads, dynamicBytes: image.Length * 2, landing: late ? CopyLanding.Late : CopyLanding.Early, target: "sm_90a");
        Assert.Equal(8, statistics.Products);
        for (var thread = 0; thread < Threads; thread++)
        {
            for (var i = 0; i < columns / 2; i++)
            {
                var row = (thread / 32 * 16) + (thread % 32 / 4) + ((i & 2) != 0 ? 8 : 0);
                var column = (i / 4 * 8) + (thread % 4 * 2) + (i & 1);
                var expected = adds ? 2f : 0f;
                for (var k = 0; k < Depth; k++)
                {
                    expected += (float)left[(row * Depth) + k] * (float)right[(column * Depth) + k];
                }

                Assert.Equal(expected, BitConverter.UInt32BitsToSingle(words[(image.Length / 2) + (i * Threads) + thread]));
            }
        }
    }

    /// <summary>The first factor in registers: lanes read it from global memory, as rows of the depth without gaps behind the second factor.</summary>
    [Theory]
    [InlineData(8, 64, true)]
    [InlineData(40, 64, true)]
    [InlineData(64, 64, false)]
    [InlineData(72, 128, true)]
    public void Products_with_registers_are_right(int columns, int line, bool transposedB)
    {
        Layout b = new(line, columns, transposedB);
        var random = new Random(9);
        var (left, right) = (Integers(random, 64), Integers(random, columns));
        var image = Image((b, right));
        var copied = (image.Length * 2 + 2047) / 2048 * 2048;
        var (at, words) = (copied, new uint[((copied + (64 * Depth * 2)) / 4) + (Threads * columns / 2)]);
        PtxText.Words<Half>(image).CopyTo(words, 0);
        PtxText.Words<Half>(left).CopyTo(words, copied / 4);
        var results = (copied / 4) + (64 * Depth / 2);
        string Factor(int step) => string.Concat(Enumerable.Range(0, 4).Select(i =>
            $"ld.global.b32 a{(step * 4) + i},[w1+{at + (i % 2 * 8 * Depth * 2) + (i / 2 * 16) + (step * 32)}]; "));
        string Product(int step) => InRegisters(columns, "d", $"a{step * 4},a{(step * 4) + 1},a{(step * 4) + 2},a{(step * 4) + 3}", "w0", step == 0 ? "0" : "1", transposedB);
        var statistics = PtxText.Run(
            $$"""
            .reg .b32 s,b,a<8>; .reg .b64 w0,w1; .reg .f32 d<{{columns / 2}}>;
            {{Copy(copied)}} cp.async.wait_all; fence.proxy.async; bar.sync 0;
            shr.u32 s,tid,2; and.b32 b,s,7; shr.u32 s,s,3; shl.b32 s,s,4; add.s32 s,s,b; mul.wide.u32 w1,s,{{Depth * 2}}; add.s64 w1,w1,base;
            and.b32 b,tid,3; mul.wide.u32 w0,b,4; add.s64 w1,w1,w0; {{Factor(0)}} {{Factor(1)}}
            mov.u32 s,dynamic; shr.u32 s,s,4; cvt.u64.u32 w0,s; or.b64 w0,w0,{{b.Offsets}}; {{Fence}}
            {{Product(0)}} add.s64 w0,w0,{{b.Step}}; {{Product(1)}} {{Commit}} {{Wait(0)}}
            {{string.Concat(Enumerable.Range(0, columns / 2).Select(i => $"st.global.f32 [at+{(results * 4) + (i * Threads * 4)}],d{i}; "))}}
            """, words, Threads, dynamicBytes: copied, target: "sm_90a");
        Assert.Equal(8, statistics.Products);
        for (var thread = 0; thread < Threads; thread++)
        {
            for (var i = 0; i < columns / 2; i++)
            {
                var row = (thread / 32 * 16) + (thread % 32 / 4) + ((i & 2) != 0 ? 8 : 0);
                var column = (i / 4 * 8) + (thread % 4 * 2) + (i & 1);
                var expected = Enumerable.Range(0, Depth).Sum(k => (float)left[(row * Depth) + k] * (float)right[(column * Depth) + k]);
                Assert.Equal(expected, BitConverter.UInt32BitsToSingle(words[results + (i * Threads) + thread]));
            }
        }
    }

    /// <summary>A loop over stages as a kernel has it: while one is multiplied, the last is still in flight and the next is copied.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Stages_follow_each_other(bool late)
    {
        const int Stages = 3, Steps = 7, StageBytes = 8192;
        Layout a = new(64, 64, false), b = new(64, 64, true);
        var random = new Random(8);
        var (left, right) = (Enumerable.Range(0, Steps).Select(_ => Integers(random, 64)).ToArray(), Enumerable.Range(0, Steps).Select(_ => Integers(random, 64)).ToArray());
        var words = new uint[(Steps * StageBytes / 4) + (Threads * 32)];
        for (var i = 0; i < Steps; i++)
        {
            PtxText.Words<Half>(Image((a, left[i]), (b, right[i]))).CopyTo(words, i * StageBytes / 4);
        }

        var load = string.Concat(Enumerable.Range(0, StageBytes / 2048).Select(i => $"@p cp.async.cg.shared.global [s+{i * 2048}],[w0+{i * 2048}],16; "));
        var next = $"add.s64 w0,w0,{StageBytes}; add.s32 n,n,1; add.s32 s,s,{StageBytes}; setp.ge.s32 q,s,e; @q sub.s32 s,s,{Stages * StageBytes}; cp.async.commit_group; ";
        var body =
            $$"""
            .reg .b32 s,b,e,n,i,at0; .reg .b64 w0,w1,wa,wb; .reg .pred p,q; .reg .f32 d<32>;
            mov.u32 b,dynamic; add.s32 e,b,{{Stages * StageBytes}}; shl.b32 s,tid,4; add.s32 s,s,b; mul.wide.u32 w0,tid,16; add.s64 w0,w0,base;
            mov.u32 n,0; mov.u32 i,0; mov.u32 at0,b; setp.lt.s32 p,n,{{Steps}};
            {{load}} {{next}}
            LOOP:
            cp.async.wait_group 0; fence.proxy.async.shared::cta; bar.sync 0;
            setp.lt.s32 p,n,{{Steps}}; {{load}} {{next}}
            shr.u32 e,at0,4; cvt.u64.u32 wa,e; add.s64 wb,wa,{{a.Bytes / 16}}; or.b64 wa,wa,{{a.Offsets}}; or.b64 wb,wb,{{b.Offsets}};
            add.s32 e,b,{{Stages * StageBytes}}; add.s32 at0,at0,{{StageBytes}}; setp.ge.s32 q,at0,e; @q mov.u32 at0,b;
            setp.ne.s32 q,i,0; {{Fence}}
            {{Product(64, "d", "q", false, true).Replace("w0,w1", "wa,wb")}} mov.pred q,1; add.s64 wa,wa,{{a.Step}}; add.s64 wb,wb,{{b.Step}};
            {{Product(64, "d", "q", false, true).Replace("w0,w1", "wa,wb")}}
            {{Commit}} WAIT
            add.s32 i,i,1; setp.lt.s32 p,i,{{Steps}}; @p bra LOOP;
            {{Wait(0)}}
            {{string.Concat(Enumerable.Range(0, 32).Select(i => $"st.global.f32 [at+{(Steps * StageBytes) + (i * Threads * 4)}],d{i}; "))}}
            """;
        PtxStatistics Run(string wait) => PtxText.Run(
            body.Replace("WAIT", wait), words, Threads, dynamicBytes: Stages * StageBytes, landing: late ? CopyLanding.Late : CopyLanding.Early, target: "sm_90a");
        Assert.Equal(4 * 2 * Steps, Run(Wait(1)).Products);
        var expected = Enumerable.Range(0, Steps).Sum(i => Enumerable.Range(0, Depth).Sum(k => (float)left[i][(9 * Depth) + k] * (float)right[i][(3 * Depth) + k]));

        // Row 9, column 3: lane 5 has rows 1 and 9, and columns 2 and 3.
        Assert.Equal(expected, BitConverter.UInt32BitsToSingle(words[(Steps * StageBytes / 4) + (3 * Threads) + 5]));

        // With another product in flight the next copies need a fourth stage.
        Assert.Contains("was written before the product", Assert.Throws<PtxException>(() => Run(Wait(2))).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("FENCE PRODUCT COMMIT WAIT", "")]
    [InlineData("FENCE PRODUCT PRODUCT COMMIT OTHER COMMIT WAIT1 st.global.f32 [at],d0; WAIT st.global.f32 [at],e0;", "")]
    [InlineData("FENCE PRODUCT COMMIT st.global.f32 [at],d0;", "the stored value comes from a register that was not written, in lane 0 (products are not waited for)")]
    [InlineData("FENCE PRODUCT COMMIT add.f32 e0,d0,d1; WAIT st.global.f32 [at],e0;", "the stored value comes from a register that was not written")]
    [InlineData("FENCE PRODUCT WAIT st.global.f32 [at],d0;", "(products are not waited for)")]
    [InlineData("FENCE PRODUCT COMMIT OTHER COMMIT WAIT1 st.global.f32 [at],e0;", "(products are not waited for)")]
    [InlineData("FENCE PRODUCT COMMIT mov.f32 d1,0f00000000; WAIT", "register 1 of the sums was written before they were waited for")]
    [InlineData("FENCE PRODUCT COMMIT MIXED", "a product of another form that is in flight writes some of the registers")]
    [InlineData("PRODUCT", "without a wgmma.fence behind it")]
    [InlineData("FENCE PRODUCT COMMIT WAIT add.f32 d2,d2,d2; PRODUCT", "register 2 of the sums was written without a wgmma.fence behind it")]
    [InlineData("FENCE PRODUCT COMMIT WAIT PRODUCT COMMIT WAIT", "")]
    [InlineData("FENCE SUM", "a summand comes from a register that was not written")]
    [InlineData("FENCE PRODUCT COMMIT st.shared.b32 [s],tid; WAIT", "shared address 1024 was written before the product that reads it was waited for")]
    [InlineData("FENCE PRODUCT COMMIT WAIT st.shared.b32 [s],tid; FENCE PRODUCT", "shared address 1024 is read without a fence.proxy.async after warp 0 wrote it")]
    [InlineData("FENCE PRODUCT COMMIT WAIT st.shared.b32 [s],tid; fence.proxy.async; FENCE PRODUCT", "")]
    [InlineData("LOADED FENCE OWN COMMIT WAIT LOADED FENCE OWN COMMIT WAIT st.global.f32 [at],d0;", "")]
    [InlineData("LOADED OWN", "register 0 of the factor was written without a wgmma.fence behind it")]
    [InlineData("FENCE OWN", "a factor comes from a register that was not written")]
    [InlineData("LOADED FENCE mov.b32 a2,0; OWN", "register 2 of the factor was written without a wgmma.fence behind it")]
    [InlineData("LOADED FENCE OWN COMMIT mov.b32 a2,0; WAIT", "register 2 of the factor was written before the product was waited for")]
    [InlineData("LOADED FENCE OWN COMMIT OTHER COMMIT WAIT1 LOADED WAIT", "")]
    [InlineData("LOADED FENCE OWN COMMIT BACK", "a product that is in flight reads some of the registers")]
    [InlineData("LOADED FENCE BACK COMMIT OWN", "a factor comes from a register that was not written, in lane 0 (products are not waited for)")]
    [InlineData("LOADED setp.lt.u32 p,tid,64; FENCE PRODUCT COMMIT @p add.s64 w1,w1,2; OWN", "the warps of the warpgroup multiply different matrices")]
    [InlineData("setp.lt.u32 p,tid,64; FENCE @p bra NEXT; PRODUCT NEXT:", "the warps of a warpgroup multiply 0 and 1 times")]
    [InlineData("setp.lt.u32 p,tid,64; FENCE PRODUCT COMMIT @p add.s64 w0,w0,2; PRODUCT", "the warps of the warpgroup multiply different matrices")]
    [InlineData("setp.lt.u32 p,tid,60; @p add.s64 w0,w0,2; FENCE PRODUCT", "lane 28 has another descriptor than lane 0")]
    [InlineData("setp.lt.u32 p,tid,60; FENCE @p bra NEXT; PRODUCT NEXT:", "not all 32 lanes of the warp take part")]
    [InlineData("and.b64 w0,w0,0x3FFFFFFFFFFFFFFF; FENCE PRODUCT", "this form is not interpreted")]
    [InlineData("add.s64 w0,w0,16384; FENCE PRODUCT", "this form is not interpreted")]
    [InlineData("add.s64 w0,w0,400; FENCE PRODUCT", "lie outside of the 8192 bytes")]
    public void Errors_are_found(string instructions, string message)
    {
        Layout a = new(64, 64, false), b = new(64, 8, true);
        const string Other = "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {e0,e1,e2,e3},w0,w1,0,1,1,0,1; ";
        var body =
            $"""
            .reg .b32 s,b,a<4>; .reg .b64 w0,w1; .reg .pred p; .reg .f32 d<4>,e<4>;
            {Copy(8192)} cp.async.wait_all; fence.proxy.async; bar.sync 0; {Descriptors(a, b)} mov.u32 s,dynamic; setp.ge.u32 p,tid,32;
            """ + instructions.Replace("FENCE", Fence).Replace("PRODUCT", Product(8, "d", "0", false, true)).Replace("SUM", Product(8, "d", "1", false, true))
                .Replace("OTHER", Other).Replace("LOADED", string.Concat(Enumerable.Range(0, 4).Select(i => $"mov.b32 a{i},0; ")))
                .Replace("OWN", InRegisters(8, "d", "a0,a1,a2,a3", "w1", "0", true)).Replace("BACK", Product(8, "a", "0", false, true))
                .Replace("MIXED", Other.Replace("e1", "d1")).Replace("COMMIT", Commit).Replace("WAIT1", Wait(1)).Replace("WAIT", Wait(0))
                .Replace("st.shared", "@!p st.shared").Replace("[s],tid", "[s],b");
        void Run() => PtxText.Run(body, new uint[2048 + Threads], Threads, dynamicBytes: 8192, target: "sm_90a");
        if (message == "")
        {
            Run();
        }
        else
        {
            Assert.Contains(message, Assert.Throws<PtxException>(Run).Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("wgmma.mma_async.sync.aligned.m64n12k16.f32.f16.f16 {d0,d1,d2,d3,d4,d5},w,w,p,1,1,0,0;", "this form is not interpreted")]
    [InlineData("wgmma.mma_async.sync.aligned.m64n264k16.f32.f16.f16 {d0,d1,d2,d3},w,w,p,1,1,0,0;", "this form is not interpreted")]
    [InlineData("wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {d0,d1,d2,d3},w,w,p,1,1,0,0;", "this form is not interpreted")]
    [InlineData("wgmma.mma_async.sync.aligned.m64n8k8.f32.tf32.tf32 {d0,d1,d2,d3},w,w,p,1,1;", "this form is not interpreted")]
    [InlineData("wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {d0,d1,d2,d3},{d4,d5,d6,d7},w,p,1,1,0,0;", "8 operands, 7 expected")]
    [InlineData("wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {d0,d1,d2,d3},{d4,d5},w,p,1,1,0;", "2 registers, 4 expected")]
    [InlineData("wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {d0,d1,d2,d3},{d4,d5,d6,d3},w,p,1,1,0;", "a register stands among the sums and among the factors")]
    [InlineData("wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {d0,d1,d2,d3},w,w,p,-1,1,0,0;", "this form is not interpreted")]
    [InlineData("wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {d0,d1,d2,d3},w,w,p,1,1,0;", "7 operands, 8 expected")]
    [InlineData("wgmma.mma_async.sync.aligned.m64n16k16.f32.f16.f16 {d0,d1,d2,d3},w,w,p,1,1,0,0;", "4 registers, 8 expected")]
    [InlineData("wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {d0,d1,d2,d2},w,w,p,1,1,0,0;", "a register stands twice among the sums")]
    [InlineData("wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {d0,d1,d2,d3},d0,w,p,1,1,0,0;", "d0 has 32 bits, 64 expected")]
    [InlineData("fence.proxy.async.global;", "this form is not interpreted")]
    public void What_is_not_understood_is_named(string instruction, string message) =>
        Assert.Contains(message, Assert.Throws<PtxException>(() => PtxText.Run(
            $".reg .f32 d<8>; .reg .b64 w; .reg .pred p; {instruction}", new uint[Threads], Threads)).Message, StringComparison.Ordinal);

    [Fact]
    public void Four_warps_multiply() => Assert.Contains(
        "four warps multiply together, and the block has 3",
        Assert.Throws<PtxException>(() => PtxText.Run(
            $".reg .f32 d<4>; .reg .b64 w0,w1; mov.b64 w0,0x8000000000000040; mov.b64 w1,w0; {Fence} {Product(8, "d", "0", false, false)}", new uint[96], 96)).Message,
        StringComparison.Ordinal);

    private static Half[] Integers(Random random, int rows) => [.. Enumerable.Range(0, rows * Depth).Select(_ => (Half)random.Next(-8, 9))];

    /// <summary>Matrices of rows x depth, one behind the other, as they have to be in shared memory.</summary>
    private static Half[] Image(params ReadOnlySpan<(Layout Layout, Half[] Values)> matrices)
    {
        var image = new List<Half>();
        foreach (var (layout, values) in matrices)
        {
            var part = new Half[layout.Bytes / 2];
            Array.Fill(part, Half.NaN);
            for (var i = 0; i < values.Length; i++)
            {
                part[layout.Offset(i / Depth, i % Depth) / 2] = values[i];
            }

            image.AddRange(part);
        }

        return [.. image];
    }

    /// <summary>A matrix whose eight lines of depths, or where it is transposed of rows, are 64 or 128 bytes long each.</summary>
    private sealed record Layout(int Line, int Rows, bool Transposed)
    {
        /// <summary>Of eight lines.</summary>
        private int Stride => 8 * Line;

        /// <summary>Of a panel: all depths of as many rows as a line holds.</summary>
        private int Panel => Depth * Line;

        public int Bytes => Transposed ? (((2 * Rows) + Line - 1) / Line * Panel) : Rows / 8 * Stride;

        /// <summary>From one instruction's depths to the next, as the descriptor counts.</summary>
        public int Step => (Transposed ? 2 * Stride : 32) / 16;

        /// <summary>The descriptor without its start.</summary>
        public string Offsets => $"0x{(Line == 64 ? 2UL : 1UL) << 62 | (ulong)(Stride / 16) << 32 | (ulong)(Transposed ? Panel / 16 : 1) << 16:X16}";

        public int Offset(int row, int depth)
        {
            var offset = Transposed
                ? (row / (Line / 2) * Panel) + (depth / 8 * Stride) + (depth % 8 * Line) + (row % (Line / 2) * 2)
                : (row / 8 * Stride) + (row % 8 * Line) + (depth * 2);
            var (piece, rest) = (offset % Line / 16, offset / 128);
            return offset - (piece * 16) + ((piece ^ (rest % (Line / 16))) * 16);
        }
    }
}
