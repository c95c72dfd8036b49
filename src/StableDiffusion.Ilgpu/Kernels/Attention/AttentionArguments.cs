using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Attention;

/// <summary>
/// softmax(q k^T * scale) v for each item and head; head h has the channels h * HeadSize … of q, k, v and the target.
/// Offsets and pitches are in elements.
/// </summary>
internal struct AttentionArguments<T> where T : unmanaged
{
    /// <summary>fp32 values that a tile's queries and outputs may take, so that they stay in a core's second-level cache.</summary>
    private const int LaneBudget = 40 * 1024;

    /// <summary>Keys whose scores are held at a time.</summary>
    public const int BlockKeys = 48;

    public ArrayView<T> Arena;
    public long Query;
    public long Key;
    public long Value;
    public long Target;
    public int QueryPitch;
    public int KeyPitch;
    public int ValuePitch;
    public int TargetPitch;
    public int Items;
    public int Heads;
    public int HeadSize;
    public int Queries;
    public int Keys;
    public int Causal;

    /// <summary>1 / sqrt(HeadSize), times log2 e: the softmax is taken to base 2.</summary>
    public float Scale;

    /// <summary>Blocks of 32 queries in a tile: they share each widened block of keys and values.</summary>
    public readonly int LaneBlocks => IntrinsicMath.Clamp(LaneBudget / (2 * LaneScratch), 2, 8);

    public readonly int TileQueries => LaneBlocks * Tile.Columns;

    public readonly int QueryTiles => (Queries + TileQueries - 1) / TileQueries;

    public readonly int Tiles => Items * Heads * QueryTiles;

    /// <summary>HeadSize rounded up to what the leaves take: the lanes beyond stay apart from the result.</summary>
    public readonly int PaddedSize => (HeadSize + Tile.Rows - 1) / Tile.Rows * Tile.Rows;

    /// <summary>Parts of the head size that are multiplied at once.</summary>
    public readonly int DepthParts => (HeadSize + Tile.Depth - 1) / Tile.Depth;

    /// <summary>fp32 values of each part of a group's scratch.</summary>
    public readonly int KeyScratch => DepthParts * BlockKeys * Tile.SourcePitch;

    public readonly int ValueScratch => BlockKeys * PaddedSize;

    public readonly int LaneScratch => PaddedSize * Tile.Columns;

    public const int StateScratch = 2 * Tile.Columns;

    /// <summary>
    /// fp32 scratch values of one group: keys, values, scores, two unit matrices and a row of zeros, then for each block of lanes queries,
    /// output and state.
    /// </summary>
    public readonly int Scratch =>
        KeyScratch + ValueScratch + (BlockKeys * Tile.Columns) + UnitScratch + (LaneBlocks * ((2 * LaneScratch) + StateScratch));

    /// <summary>Whether all heads are aligned and whole for work-items that read eight channels at a time.</summary>
    public readonly bool IsChunked => ((Query | Key | Value | (long)(QueryPitch | KeyPitch | ValuePitch | HeadSize)) & (Float8.Length - 1)) == 0;

    public const int UnitScratch = ((2 * Tile.Columns) + 1) * Tile.Columns;
}
