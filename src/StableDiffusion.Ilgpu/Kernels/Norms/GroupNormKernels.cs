using System.Runtime.CompilerServices;
using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Norms;

/// <summary>Group norm (Wu and He 2018, arXiv:1803.08494), for devices whose groups have one work-item.</summary>
internal static class GroupNormKernels<T, TLeaf>
    where T : unmanaged
    where TLeaf : struct, ILeaf<T>
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Moments(GroupNormArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < a.Items * a.Parts; tile = default(TLeaf).NextTile(counter, tile))
        {
            var (item, part) = (tile / a.Parts, tile % a.Parts);
            var first = a.Source + ((((long)item * a.Rows) + (part * GroupNormArguments<T>.PartRows)) * a.SourcePitch);
            var target = a.MomentOffset(item, part);
            default(TLeaf).Moments(a.Arena, first, a.SourcePitch, a.RowsOfPart(part), a.Channels, a.Moments, target, a.Moments, target + a.Channels);
        }
    }

    /// <summary>Merges all parts of an item into its first one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Merge(GroupNormArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        var perItem = (a.Channels + GroupNormArguments<T>.TileColumns - 1) / GroupNormArguments<T>.TileColumns;
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < a.Items * perItem; tile = default(TLeaf).NextTile(counter, tile))
        {
            var (item, first) = (tile / perItem, tile % perItem * GroupNormArguments<T>.TileColumns);
            var end = IntrinsicMath.Min(a.Channels, first + GroupNormArguments<T>.TileColumns);
            for (var column = first; column < end; column++)
            {
                a.MergeColumn(item, column);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Normalize(GroupNormArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        var means = Grid.IdxX * a.Scratch;
        var scales = means + a.Channels;
        var lastItem = -1;
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < a.Items * a.TilesPerItem; tile = default(TLeaf).NextTile(counter, tile))
        {
            var (item, first) = (tile / a.TilesPerItem, tile % a.TilesPerItem * GroupNormArguments<T>.TileRows);
            if (item != lastItem)
            {
                MergeGroups(a, item, scratch, means, scales);
                lastItem = item;
            }

            var row = ((long)item * a.Rows) + first;
            default(TLeaf).Normalize(
                a.Arena, a.Source + (row * a.SourcePitch), a.SourcePitch, a.Arena, a.Target + (row * a.TargetPitch), a.TargetPitch,
                IntrinsicMath.Min(GroupNormArguments<T>.TileRows, a.Rows - first), a.Channels, scratch, means, scratch, scales, a.Biases, 0, a.Silu);
        }
    }

    /// <summary>Mean, and weight over standard deviation, of each column's group.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void MergeGroups(GroupNormArguments<T> a, int item, ArrayView<float> scratch, int means, int scales)
    {
        var width = a.Channels / a.Groups;
        var parts = a.NeedsMerge ? 1 : a.Parts;
        for (var group = 0; group < a.Groups; group++)
        {
            var mean = 0f;
            for (var part = 0; part < parts; part++)
            {
                var weight = (parts == 1 ? 1f : (float)a.RowsOfPart(part) / a.Rows) / width;
                for (var i = 0; i < width; i++)
                {
                    mean += a.Moments[a.MomentOffset(item, part) + (group * width) + i] * weight;
                }
            }

            var deviation = 0f;
            for (var part = 0; part < parts; part++)
            {
                var rows = parts == 1 ? a.Rows : a.RowsOfPart(part);
                for (var i = 0; i < width; i++)
                {
                    var at = a.MomentOffset(item, part) + (group * width) + i;
                    var d = a.Moments[at] - mean;
                    deviation += a.Moments[at + a.Channels] + (d * d * rows);
                }
            }

            var factor = 1f / MathF.Sqrt((deviation / ((float)a.Rows * width)) + a.Epsilon);
            for (var i = 0; i < width; i++)
            {
                scratch[means + (group * width) + i] = mean;
                scratch[scales + (group * width) + i] = factor * a.Weights[(group * width) + i];
            }
        }
    }
}
