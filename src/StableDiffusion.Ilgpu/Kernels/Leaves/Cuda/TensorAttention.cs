namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// Attention on tensor cores, as placeholders for the texts of <see cref="TensorAttentionText"/>, <see cref="WarpgroupAttentionText"/> and
/// <see cref="DeepAttentionText"/>, whose arguments are too many for one. A kernel calls <see cref="Begin"/> and then one of the others. The first argument gives way to the text. Pitches are in bytes; all addresses
/// and pitches are multiples of 16.
/// </summary>
internal static class TensorAttention
{
    /// <param name="text">The text's place.</param>
    /// <param name="query">Address of the group's first query.</param>
    /// <param name="key">Address of the item's and head's first key.</param>
    /// <param name="value">Address of the first value's columns that the group computes.</param>
    /// <param name="target">Address of the same columns of the first query's output.</param>
    /// <param name="queryPitch">From query to query.</param>
    /// <param name="keyPitch">From key to key.</param>
    /// <param name="valuePitch">From value to value.</param>
    /// <param name="targetPitch">From output to output.</param>
    public static void Begin(
        int text, ulong query, ulong key, ulong value, ulong target, int queryPitch, int keyPitch, int valuePitch, int targetPitch) =>
        throw new NotSupportedException();

    /// <param name="text">The text's place.</param>
    /// <param name="queries">That there are from the group's first one on.</param>
    /// <param name="keys">That the last of the group's queries sees.</param>
    /// <param name="firstKeys">That the first of them sees.</param>
    /// <param name="causal">How many more keys each next query sees, 0 or 1.</param>
    /// <param name="scale">Of the logits.</param>
    /// <param name="shared">Offset of shared memory, <see cref="DeepAttentionShape.SharedBytes"/>.</param>
    /// <param name="pieces">Of the head's channels, 64 each.</param>
    public static void Deep(
        int text, int queries, int keys, int firstKeys, int causal, float scale, uint shared, int pieces) =>
        throw new NotSupportedException();

    /// <summary>Tells how to write the texts. Before any kernel is compiled.</summary>
    internal static void Bind()
    {
        PtxCode.Bind(typeof(TensorAttention).GetMethod(nameof(Begin))!, TensorAttentionText.Begin);
        PtxCode.Bind(typeof(TensorAttention).GetMethod(nameof(Deep))!, () => new DeepAttentionText().Run());
        BindHead<Head8>();
        BindHead<Head16>();
        BindHead<Head24>();
        BindHead<Head32>();
        BindHead<Head40>();
        BindHead<Head48>();
        BindHead<Head64>();
        BindHead<Head80>();
        BindHead<Head96>();
        BindHead<Head128>();
        BindHead<Head160>();
    }

    private static void BindHead<THead>() where THead : struct, ITensorHead
    {
        TensorAttention<THead, OneRowTile>.Bind();
        TensorAttention<THead, TwoRowTiles>.Bind();
        if (default(THead).Size <= WarpgroupAttentionShape.MostChannels)
        {
            WarpgroupAttention<THead>.Bind();
        }
    }
}

/// <summary>The second text for one size of heads and so many queries in a group.</summary>
internal static class TensorAttention<THead, TRows>
    where THead : struct, ITensorHead
    where TRows : struct, IRowTiles
{
    public static TensorAttentionShape Shape => new(default(THead).Size, default(TRows).Count);

    /// <param name="text">The text's place.</param>
    /// <param name="queries">That there are from the group's first one on.</param>
    /// <param name="keys">That the last of the group's queries sees.</param>
    /// <param name="firstKeys">That the first of them sees.</param>
    /// <param name="causal">How many more keys each next query sees, 0 or 1.</param>
    /// <param name="scale">Of the logits.</param>
    /// <param name="shared">Offset of shared memory, <see cref="TensorAttentionShape.SharedBytes"/>.</param>
    public static void Run(int text, int queries, int keys, int firstKeys, int causal, float scale, uint shared) =>
        throw new NotSupportedException();

    internal static void Bind() => PtxCode.Bind(
        typeof(TensorAttention<THead, TRows>).GetMethod(nameof(Run))!, () => new TensorAttentionText(Shape).Run());
}

/// <summary>The second text on Hopper, for one size of heads.</summary>
internal static class WarpgroupAttention<THead>
    where THead : struct, ITensorHead
{
    public static WarpgroupAttentionShape Shape => new(default(THead).Size);

    /// <param name="text">The text's place.</param>
    /// <param name="queries">That there are from the group's first one on.</param>
    /// <param name="keys">That all of them see.</param>
    /// <param name="scale">Of the logits.</param>
    /// <param name="shared">
    /// Offset of shared memory, a multiple of <see cref="TensorTileShape.SwizzleAlignment"/>, with <see cref="WarpgroupAttentionShape.Stages"/> stages.
    /// </param>
    public static void Run(int text, int queries, int keys, float scale, uint shared) => throw new NotSupportedException();

    internal static void Bind() =>
        PtxCode.Bind(typeof(WarpgroupAttention<THead>).GetMethod(nameof(Run))!, () => new WarpgroupAttentionText(Shape).Run());
}
