using Xunit;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>Barriers of some of a block's warps, and which accesses to shared memory they bring into order.</summary>
public sealed class BarrierTests
{
    private const string Setup =
        """
        .shared .align 16 .b8 sh[1024]; .reg .b32 s,other,v,half,number; .reg .pred first;
        mov.u32 v,sh; shl.b32 s,tid,2; xor.b32 other,s,512; add.s32 s,s,v; add.s32 other,other,v;
        shr.u32 half,tid,7; setp.eq.s32 first,half,0; add.s32 number,half,1;

        """;

    private const string Order = "is read without a barrier after warp";

    /// <summary>The first four warps write, tell and go on; the other four wait and read.</summary>
    [Theory]
    [InlineData("bar.arrive 1,256;", "bar.sync 1,256;")]
    [InlineData("bar.arrive number,256;", "mov.b32 number,1; bar.sync number,256;")]
    [InlineData("bar.sync 1,256;", "bar.sync 1,256;")]
    [InlineData("bar.sync 0;", "bar.sync 0;")]
    [InlineData(
        "bar.arrive 1,256; bar.sync 2,256; bar.arrive 3,256; bar.sync 4,256; bar.arrive 1,256;",
        "bar.arrive 2,256; bar.sync 1,256; bar.arrive 4,256; bar.sync 3,256; bar.sync 1,256;")]
    public void Who_waits_sees_what_was_done_by_those_who_arrived(string arrive, string wait)
    {
        var words = new uint[256];
        PtxText.Run(Told(arrive, wait), words, threads: 256);
        Assert.Equal(Enumerable.Range(0, 128).Select(i => (uint)i), words[128..]);
    }

    /// <summary>Nobody told; told too early; another one told; those who tell see nothing of those who wait.</summary>
    [Theory]
    [InlineData("bar.sync 2,128; st.shared.b32 [s],tid;", "bar.sync 1,128; ld.shared.b32 v,[other];", Order)]
    [InlineData("bar.arrive 1,256; st.shared.b32 [s],tid;", "bar.sync 1,256; ld.shared.b32 v,[other];", Order)]
    [InlineData("st.shared.b32 [s],tid; bar.arrive 1,256; bar.sync 2,256; st.shared.b32 [s],tid;", "bar.sync 1,256; bar.arrive 2,256; ld.shared.b32 v,[other];", "is")]
    [InlineData("bar.arrive 1,256; bar.sync 2,128; ld.shared.b32 v,[other];", "st.shared.b32 [s],tid; bar.sync 1,256;", Order)]
    [InlineData("ld.shared.b32 v,[other]; bar.arrive 2,256;", "st.shared.b32 [s],tid; bar.sync 2,256;", "after warp")]
    public void Races_between_warps_that_do_not_wait_for_each_other_are_errors(string ofFirst, string ofSecond, string message) =>
        Assert.Contains(message, Fail(ofFirst, ofSecond), StringComparison.Ordinal);

    [Theory]
    [InlineData("bar.sync 1,256;", "bar.sync 2,256;", "the warps wait for each other")]
    [InlineData("bar.arrive 1,256;", "bar.sync 2,128;", "warps have arrived at barrier 1, and nobody waits there")]
    [InlineData("bar.arrive 1,128; bar.arrive 1,128;", "bar.sync 1,128;", "threads arrive at barrier 1, which waits for 128")]
    [InlineData("bar.arrive 1,256;", "bar.sync 1,128;", "barrier 1 waits for 256 and for 128 threads")]
    [InlineData("bar.arrive 1,256; bar.sync 2,256; bar.arrive 1,256;", "bar.arrive 2,256; bar.sync 1,256; bar.sync 1,256;", "comes to barrier 1 again without a barrier after warp 4")]
    [InlineData("mov.b32 number,16; bar.sync number,128;", "bar.sync 1,128;", "there is no barrier 16")]
    [InlineData("and.b32 number,tid,1; bar.sync number,128;", "bar.sync 1,128;", "the lanes' barriers differ")]
    public void Barriers_that_do_not_meet_are_errors(string ofFirst, string ofSecond, string message) =>
        Assert.Contains(message, Fail(ofFirst, ofSecond), StringComparison.Ordinal);

    /// <summary>For readers such as <c>wgmma</c>: what an arrival tells of must have been fenced before it.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public unsafe void A_fence_counts_if_it_stands_before_the_arrival(bool before)
    {
        const int Warps = 2 * Warpgroup.Warps;
        var order = new BarrierOrder(Warps);
        var shared = new SharedMemory(64, order);
        shared.Reset(new PtxStatistics());
        shared.Write(PtxProgram.SharedBase, 16, 16, warp: 0);
        if (before)
        {
            shared.Publish(0);
        }

        for (var warp = 0; warp < Warps; warp++)
        {
            order.Arrive(warp, 1, Warps * Warp.Size);
        }

        Assert.Equal([1], order.Full());
        order.Learn(Warps - 1, 1);
        shared.Publish(0);
        var refused = Record.Exception(() => { shared.ReadAsynchronously(PtxProgram.SharedBase, Warps - 1); });
        Assert.Equal(before, refused is null);
        Assert.Equal(before, refused?.Message.Contains("without a fence.proxy.async", StringComparison.Ordinal) != true);
    }

    private static string Fail(string ofFirst, string ofSecond) =>
        Assert.Throws<PtxException>(() => PtxText.Run(Halves(ofFirst, ofSecond), new uint[256], threads: 256)).Message;

    private static string Told(string arrive, string wait) =>
        Halves($"st.shared.b32 [s],tid; {arrive}", $"{wait} ld.shared.b32 v,[other]; st.global.b32 [at],v;");

    private static string Halves(string ofFirst, string ofSecond) => $"{Setup}@first bra FIRST; {ofSecond} bra DONE; FIRST: {ofFirst} DONE:";
}
