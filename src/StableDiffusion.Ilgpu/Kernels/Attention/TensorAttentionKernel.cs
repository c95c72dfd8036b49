using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

namespace StableDiffusion.Ilgpu.Kernels.Attention;

/// <summary>
/// Attention without stored scores on tensor cores, for heads of one size: what <see cref="TensorAttentionText"/> is called with. A group computes 64 or 128 queries
/// of one head. What a query gets depends on its own item only.
/// </summary>
internal static class TensorAttentionKernel<THead, TRows>
    where THead : struct, ITensorHead
    where TRows : struct, IRowTiles
{
    public static int SharedBytes => TensorAttention<THead, TRows>.Shape.SharedBytes;

    private static int GroupQueries => 64 * default(TRows).Count;

    public static KernelConfig Shape(AttentionArguments<ushort> a) => new(
        a.Items * a.Heads * TensorAttentionKernel.Blocks(a, GroupQueries), TensorAttentionShape.Threads,
        SharedMemoryConfig.RequestDynamic<Float4>(SharedBytes / 16));

    public static void Run(AttentionArguments<ushort> a)
    {
        var shared = SharedMemory.GetDynamic<Float4>();
        var firstQuery = TensorAttentionKernel.Begin(a, Grid.IdxX, GroupQueries, 0);
        var queries = IntrinsicMath.Min(GroupQueries, a.Queries - firstQuery);
        TensorAttention<THead, TRows>.Run(
            0, queries, TensorAttentionKernel.Visible(a, firstQuery + queries), TensorAttentionKernel.Visible(a, firstQuery + 1),
            a.Causal, a.Scale, (uint)PtxCode.AddressOf(ref shared[0]));
    }
}

/// <summary>
/// The same on Hopper, where every query sees every key: what <see cref="WarpgroupAttentionText"/> is called with. A group computes 128 queries of one head.
/// </summary>
internal static class WarpgroupAttentionKernel<THead>
    where THead : struct, ITensorHead
{
    public static int SharedBytes => WarpgroupAttention<THead>.Shape.SharedBytes;

    public static KernelConfig Shape(AttentionArguments<ushort> a) => new(
        a.Items * a.Heads * TensorAttentionKernel.Blocks(a, WarpgroupAttentionShape.Queries), WarpgroupAttentionShape.Threads,
        SharedMemoryConfig.RequestDynamic<Float4>(SharedBytes / 16));

    public static void Run(AttentionArguments<ushort> a)
    {
        var shared = SharedMemory.GetDynamic<Float4>();
        var firstQuery = TensorAttentionKernel.Begin(a, Grid.IdxX, WarpgroupAttentionShape.Queries, 0);
        var stages = TensorTileShape.Align((uint)PtxCode.AddressOf(ref shared[0]), TensorTileShape.SwizzleAlignment);
        WarpgroupAttention<THead>.Run(
            0, IntrinsicMath.Min(WarpgroupAttentionShape.Queries, a.Queries - firstQuery), a.Keys, a.Scale, stages);
    }
}

/// <summary>The same for heads of 256, 384 or 512 channels, in parts of 128 columns: what <see cref="DeepAttentionText"/> is called with.</summary>
internal static class DeepAttentionKernel
{
    public static int SharedBytes => DeepAttentionShape.SharedBytes(DeepAttentionShape.MostChannels);

    public static KernelConfig Shape(AttentionArguments<ushort> a) => new(
        a.Items * a.Heads * TensorAttentionKernel.Blocks(a, DeepAttentionShape.Queries) * Parts(a), DeepAttentionShape.Threads,
        SharedMemoryConfig.RequestDynamic<Float4>(DeepAttentionShape.SharedBytes(a.HeadSize) / 16));

    public static void Run(AttentionArguments<ushort> a)
    {
        var shared = SharedMemory.GetDynamic<Float4>();
        var firstQuery = TensorAttentionKernel.Begin(
            a, Grid.IdxX / Parts(a), DeepAttentionShape.Queries, Grid.IdxX % Parts(a) * DeepAttentionShape.PartColumns);
        var queries = IntrinsicMath.Min(DeepAttentionShape.Queries, a.Queries - firstQuery);
        TensorAttention.Deep(
            0, queries, TensorAttentionKernel.Visible(a, firstQuery + queries), TensorAttentionKernel.Visible(a, firstQuery + 1),
            a.Causal, a.Scale, (uint)PtxCode.AddressOf(ref shared[0]), a.HeadSize / DeepAttentionShape.PieceChannels);
    }

    private static int Parts(AttentionArguments<ushort> a) => a.HeadSize / DeepAttentionShape.PartColumns;
}

/// <summary>What both have in common.</summary>
internal static class TensorAttentionKernel
{
    /// <summary>
    /// Whether heads lie in whole chunks of 16 bytes, as the copies take them (the arena itself begins at one), and 32 bits reach an item's keys and values.
    /// </summary>
    public static bool Fits(in AttentionArguments<ushort> a) =>
        (long)a.Keys * Math.Max(a.KeyPitch, a.ValuePitch) * 2 <= int.MaxValue
        && (a.Query | a.Key | a.Value | a.Target | (long)(a.QueryPitch | a.KeyPitch | a.ValuePitch | a.TargetPitch | a.HeadSize)) % 8 == 0;

    public static int Blocks(AttentionArguments<ushort> a, int groupQueries) => (a.Queries + groupQueries - 1) / groupQueries;

    /// <summary>Keys that some of the first queries see.</summary>
    public static int Visible(AttentionArguments<ushort> a, int queries) => a.Causal != 0 ? IntrinsicMath.Min(a.Keys, queries) : a.Keys;

    /// <summary>Hands the addresses of a group's queries, keys, values and outputs to the text that follows.</summary>
    /// <returns>The first query.</returns>
    public static int Begin(AttentionArguments<ushort> a, int group, int groupQueries, int firstColumn)
    {
        var firstQuery = group % Blocks(a, groupQueries) * groupQueries;
        var head = group / Blocks(a, groupQueries) % a.Heads;
        long item = group / Blocks(a, groupQueries) / a.Heads;
        var channel = head * a.HeadSize;
        var query = a.Query + (((item * a.Queries) + firstQuery) * a.QueryPitch) + channel;
        var key = a.Key + (item * a.Keys * a.KeyPitch) + channel;
        var value = a.Value + (item * a.Keys * a.ValuePitch) + channel + firstColumn;
        var target = a.Target + (((item * a.Queries) + firstQuery) * a.TargetPitch) + channel + firstColumn;
        TensorAttention.Begin(
            0, PtxCode.AddressOf(ref a.Arena[query]), PtxCode.AddressOf(ref a.Arena[key]), PtxCode.AddressOf(ref a.Arena[value]),
            PtxCode.AddressOf(ref a.Arena[target]), a.QueryPitch * 2, a.KeyPitch * 2, a.ValuePitch * 2, a.TargetPitch * 2);
        return firstQuery;
    }
}
