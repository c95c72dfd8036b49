using Xunit;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>Shared memory, copies into it, and the matrices that warps take from it.</summary>
public sealed class SharedMemoryTests
{
    private const string Product = "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32";

    /// <summary>Lane addresses, and passes in all and beyond the fewest: of 4, 8 and 16 bytes a lane.</summary>
    [Theory]
    [InlineData("shl.b32 s,tid,2;", "b32 v", 1, 0)]
    [InlineData("shl.b32 s,tid,3;", "b32 v", 1, 1)]
    [InlineData("shl.b32 s,tid,7;", "b32 v", 1, 31)]
    [InlineData("mov.b32 s,0;", "b32 v", 1, 0)]
    [InlineData("shl.b32 s,tid,1;", "b16 h", 1, 0)]
    [InlineData("mul.lo.s32 s,tid,132;", "b32 v", 1, 0)]
    [InlineData("shl.b32 s,tid,3;", "v2.b32 {v,v}", 2, 0)]
    [InlineData("shl.b32 s,tid,4;", "v4.b32 {v,v,v,v}", 4, 0)]
    [InlineData("shl.b32 s,tid,5;", "v4.b32 {v,v,v,v}", 4, 4)]
    [InlineData("shl.b32 s,tid,7;", "v4.b32 {v,v,v,v}", 4, 28)]
    public void Bank_conflicts_are_counted(string address, string value, int passes, int extra)
    {
        var (type, register) = (value.Split(' ')[0], value.Split(' ')[1]);
        var setup = $".shared .align 16 .b8 sh[8192]; .reg .b32 s,b,v; .reg .b16 h; {address} mov.u32 b,sh; add.s32 s,s,b; ";
        var load = PtxText.Run($"{setup} ld.shared.{type} {register},[s];", new uint[1]);
        Assert.Equal((passes, extra), (load.Accesses(SharedAccess.Load), load.ExtraPasses(SharedAccess.Load)));
        var store = PtxText.Run($"{setup} mov.b32 v,tid; cvt.u16.u32 h,tid; st.shared.{type} [s],{register};", new uint[1]);
        Assert.Equal((passes, extra), (store.Accesses(SharedAccess.Store), store.ExtraPasses(SharedAccess.Store)));
    }

    [Theory]
    [InlineData(16, 4, 0)]
    [InlineData(80, 4, 0)]
    [InlineData(64, 4, 12)]
    [InlineData(128, 4, 28)]
    public void Bank_conflicts_of_matrices_depend_on_the_pitch(int pitch, int passes, int extra)
    {
        var statistics = PtxText.Run(
            $".shared .align 16 .b8 sh[4096]; .reg .b32 s,b,v<4>; mul.lo.s32 s,tid,{pitch}; mov.u32 b,sh; add.s32 s,s,b; ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{v0,v1,v2,v3}},[s];",
            new uint[1]);
        Assert.Equal((passes, extra), (statistics.Accesses(SharedAccess.Matrix), statistics.ExtraPasses(SharedAccess.Matrix)));
    }

    /// <summary>Matrix m holds 1000 * m + 10 * row + column.</summary>
    [Theory]
    [InlineData(1, "")]
    [InlineData(2, "")]
    [InlineData(4, "")]
    [InlineData(4, ".trans")]
    [InlineData(2, ".trans")]
    public void Matrices_are_loaded(int count, string transposed)
    {
        ushort[] values = [.. Enumerable.Range(0, 256).Select(i => (ushort)((i / 64 * 1000) + (i / 8 % 8 * 10) + (i % 8)))];
        var words = new uint[128 + (32 * count)];
        PtxText.Words<ushort>(values).CopyTo(words, 0);
        var registers = string.Join(',', Enumerable.Range(0, count).Select(i => $"v{i}"));
        PtxText.Run(
            $$"""
            .shared .align 16 .b8 sh[512]; .reg .b32 s,b,v<4>; .reg .b64 w;
            shl.b32 s,tid,4; mov.u32 b,sh; add.s32 s,s,b; mul.wide.u32 w,tid,16; add.s64 w,w,base;
            ld.global.v4.b32 {v0,v1,v2,v3},[w]; st.shared.v4.b32 [s],{v0,v1,v2,v3}; bar.warp.sync -1;
            ldmatrix.sync.aligned.m8n8.x{{count}}{{transposed}}.shared.b16 {{{registers}}},[s];
            {{string.Concat(Enumerable.Range(0, count).Select(i => $"st.global.b32 [at+{512 + (128 * i)}],v{i}; "))}}
            """, words);
        for (var m = 0; m < count; m++)
        {
            for (var lane = 0; lane < 32; lane++)
            {
                var (i, j) = (lane / 4, lane % 4 * 2);
                var (low, high) = transposed == "" ? ((10 * i) + j, (10 * i) + j + 1) : ((10 * j) + i, (10 * (j + 1)) + i);
                Assert.Equal((uint)((1000 * m) + low + (((1000 * m) + high) << 16)), words[128 + (32 * m) + lane]);
            }
        }
    }

    /// <summary>Fragments as the manual places them, filled here element by element, against the product by its definition.</summary>
    [Fact]
    public void Products_are_right()
    {
        var random = new Random(5);
        var a = Values(16 * 16);
        var b = Values(16 * 8);
        float[] c = [.. Enumerable.Range(0, 16 * 8).Select(_ => random.NextSingle() - 0.5f)];
        var words = new uint[32 * 14];
        for (var lane = 0; lane < 32; lane++)
        {
            var (group, pair) = (lane >> 2, (lane & 3) * 2);
            int[] aRows = [group, group + 8, group, group + 8], aColumns = [pair, pair, pair + 8, pair + 8];
            for (var r = 0; r < 4; r++)
            {
                words[(32 * r) + lane] = Pair(a[(aRows[r] * 16) + aColumns[r]], a[(aRows[r] * 16) + aColumns[r] + 1]);
                words[(32 * (6 + r)) + lane] = BitConverter.SingleToUInt32Bits(c[((group + (r / 2 * 8)) * 8) + pair + (r % 2)]);
            }

            words[(32 * 4) + lane] = Pair(b[(pair * 8) + group], b[((pair + 1) * 8) + group]);
            words[(32 * 5) + lane] = Pair(b[((pair + 8) * 8) + group], b[((pair + 9) * 8) + group]);
        }

        var loads = string.Concat(Enumerable.Range(0, 10).Select(i => $"ld.global.b32 v{i},[at+{128 * i}]; "));
        var stores = string.Concat(Enumerable.Range(0, 4).Select(i => $"st.global.b32 [at+{128 * (10 + i)}],v{6 + i}; "));
        var statistics = PtxText.Run($".reg .b32 v<10>; {loads} {Product} {{v6,v7,v8,v9}},{{v0,v1,v2,v3}},{{v4,v5}},{{v6,v7,v8,v9}}; {stores}", words);
        Assert.Equal(1, statistics.Products);
        for (var row = 0; row < 16; row++)
        {
            for (var column = 0; column < 8; column++)
            {
                var expected = (double)c[(row * 8) + column];
                for (var k = 0; k < 16; k++)
                {
                    expected += (double)a[(row * 16) + k] * (double)b[(k * 8) + column];
                }

                var (lane, r) = ((row % 8 * 4) + (column / 2), (row / 8 * 2) + (column % 2));
                Assert.Equal(expected, BitConverter.UInt32BitsToSingle(words[(32 * (10 + r)) + lane]), 1e-5);
            }
        }

        Half[] Values(int count) => [.. Enumerable.Range(0, count).Select(_ => (Half)(random.NextSingle() - 0.5f))];

        static uint Pair(Half low, Half high) => BitConverter.HalfToUInt16Bits(low) | ((uint)BitConverter.HalfToUInt16Bits(high) << 16);
    }

    /// <summary>Two groups of copies; the first is waited for, the second only at the end. The last lanes read fewer bytes, or none.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Copies_land_when_they_are_waited_for(bool late)
    {
        var landing = late ? CopyLanding.Late : CopyLanding.Early;
        var words = new uint[256 + 64];
        for (var i = 0u; i < 256; i++)
        {
            words[i] = i + 1;
        }

        const string Body =
            """
            .reg .b32 s,b,n,v; .reg .b64 w; .reg .pred p;
            mov.u32 b,dynamic; shl.b32 s,tid,4; add.s32 s,s,b; mul.wide.u32 w,tid,16; add.s64 w,w,base;
            setp.lt.u32 p,tid,30; selp.b32 n,16,4,p; setp.eq.u32 p,tid,31; @p mov.b32 n,0; @p mov.b64 w,0;
            cp.async.cg.shared.global.L2::128B [s],[w],16,n; cp.async.commit_group;
            @!p cp.async.ca.shared.global [s+512],[w+512],16; cp.async.commit_group;
            cp.async.wait_group 1; bar.sync 0;
            shl.b32 s,tid,2; add.s32 s,s,b;
            ld.shared.b32 v,[s+384]; st.global.b32 [at+1024],v;
            ld.shared.b32 v,[s+896]; st.global.b32 [at+1152],v;
            cp.async.wait_all;
            """;
        var statistics = PtxText.Run(Body, words, dynamicBytes: 1024, landing: landing);
        Assert.Equal(Enumerable.Range(0, 32).Select(i => i <= 24 ? (uint)(97 + i) : 0), words[256..288]);
        Assert.Equal(Enumerable.Range(0, 32).Select(i => i < 28 && !late ? (uint)(225 + i) : 0x7FC57FC5), words[288..]);
        Assert.Equal((8, 0), (statistics.Accesses(SharedAccess.Copy), statistics.ExtraPasses(SharedAccess.Copy)));
    }

    [Fact]
    public void What_was_not_written_is_no_number()
    {
        var words = new uint[32];
        PtxText.Run(".shared .align 4 .b8 sh[128]; .reg .b32 v; ld.shared.b32 v,[sh]; st.global.b32 [at],v;", words);
        Assert.All(words, v => Assert.True(float.IsNaN(BitConverter.UInt32BitsToSingle(v))
            && Half.IsNaN(BitConverter.UInt16BitsToHalf((ushort)v)) && Half.IsNaN(BitConverter.UInt16BitsToHalf((ushort)(v >> 16)))));
    }

    [Theory]
    [InlineData("cp.async.cg.shared.global [s],[base],8;", "8 bytes cannot be copied")]
    [InlineData("cp.async.cg.shared.global [s],[base],16,17;", "17 bytes are read for 16")]
    [InlineData("cp.async.cg.shared.global [s+8],[base],16;", "not aligned to 16 bytes")]
    [InlineData("cp.async.cg.shared.global [s],[base+4],16;", "not aligned to 16 bytes")]
    [InlineData("cp.async.cg.shared.global [s],[base+1024],16;", "outside of the buffers")]
    [InlineData("cp.async.cg.shared.global [s+4096],[base],16;", "outside of the 1024 bytes")]
    [InlineData("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {v},[s+8];", "not aligned to 16 bytes")]
    public void Errors_of_copies_and_matrices(string instruction, string message)
    {
        var e = Assert.Throws<PtxException>(() => PtxText.Run($".reg .b32 s,v; mov.u32 s,dynamic; {instruction}", new uint[256], dynamicBytes: 1024));
        Assert.Contains(message, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Copies_of_another_warp_need_a_barrier()
    {
        const string Body =
            """
            .reg .b32 s,b,v; .reg .b64 w; mov.u32 b,dynamic; shl.b32 s,tid,4; add.s32 s,s,b; mul.wide.u32 w,tid,16; add.s64 w,w,base;
            cp.async.cg.shared.global [s],[w],16; cp.async.commit_group; BARRIER cp.async.wait_all;
            xor.b32 s,tid,32; shl.b32 s,s,4; add.s32 s,s,b; ld.shared.b32 v,[s];
            """;
        Assert.Contains("is written without a barrier after warp 0 read it", Assert.Throws<PtxException>(() =>
            PtxText.Run(Body.Replace("BARRIER", "bar.sync 0;"), new uint[256], threads: 64, dynamicBytes: 1024)).Message, StringComparison.Ordinal);
        PtxText.Run(Body.Replace("BARRIER", "").Replace("wait_all;", "wait_all; bar.sync 0;"), new uint[256], threads: 64, dynamicBytes: 1024);
    }
}
