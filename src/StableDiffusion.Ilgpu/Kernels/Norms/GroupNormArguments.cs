using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Norms;

/// <summary>
/// Group norm of a channels-last value in three launches: moments of each column over a part of an item's rows, the merging of the
/// parts (left out where there are few), and the normalisation; or in one, on GPUs, where it is small. The parts depend on the shape only, so results do
/// not depend on the number of cores. Offsets and pitches are in elements.
/// </summary>
internal struct GroupNormArguments<T> where T : unmanaged
{
    /// <summary>Rows of a part.</summary>
    public const int PartRows = 512;

    /// <summary>The normalisation merges up to this many parts by itself, each group anew for every tile.</summary>
    public const int FewParts = 4;

    /// <summary>Rows of a tile of the normalisation.</summary>
    public const int TileRows = 256;

    /// <summary>Columns of a tile of the merging.</summary>
    public const int TileColumns = 64;

    public ArrayView<T> Arena;
    public ArrayView<float> Weights;
    public ArrayView<float> Biases;

    /// <summary>Per item and part: the means of all columns, then their sums of squared deviations.</summary>
    public ArrayView<float> Moments;

    public long Source;
    public long Target;
    public int SourcePitch;
    public int TargetPitch;
    public int Items;
    public int Rows;
    public int Channels;
    public int Groups;
    public float Epsilon;
    public int Silu;

    public readonly int Parts => (Rows + PartRows - 1) / PartRows;

    public readonly bool NeedsMerge => Parts > FewParts;

    /// <summary>Whether all rows are aligned and whole for work-items that move eight values at a time.</summary>
    public readonly bool IsChunked => ((Source | Target | (long)(SourcePitch | TargetPitch | Channels)) & (Float8.Length - 1)) == 0;

    public readonly int TilesPerItem => (Rows + TileRows - 1) / TileRows;

    /// <summary>fp32 values in <see cref="Moments"/>.</summary>
    public readonly int MomentCount => Items * Parts * 2 * Channels;

    /// <summary>fp32 scratch values of one group: means and scales of all columns.</summary>
    public readonly int Scratch => 2 * Channels;

    public readonly int MomentOffset(int item, int part) => ((item * Parts) + part) * 2 * Channels;

    public readonly int RowsOfPart(int part) => IntrinsicMath.Min(PartRows, Rows - (part * PartRows));

    /// <summary>Merges all parts of an item's column into its first one.</summary>
    public readonly void MergeColumn(int item, int column)
    {
        var mean = 0f;
        for (var part = 0; part < Parts; part++)
        {
            mean += Moments[MomentOffset(item, part) + column] * ((float)RowsOfPart(part) / Rows);
        }

        var deviation = 0f;
        for (var part = 0; part < Parts; part++)
        {
            var at = MomentOffset(item, part) + column;
            var d = Moments[at] - mean;
            deviation += Moments[at + Channels] + (d * d * RowsOfPart(part));
        }

        var target = MomentOffset(item, 0) + column;
        Moments[target] = mean;
        Moments[target + Channels] = deviation;
    }
}
