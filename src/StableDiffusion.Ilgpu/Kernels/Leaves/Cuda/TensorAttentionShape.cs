namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// What a group of four warps computes of an attention whose heads are small enough to keep queries and outputs in registers.
/// </summary>
/// <param name="HeadSize">A multiple of 8.</param>
/// <param name="RowTiles">Times 16 queries in each warp.</param>
internal readonly record struct TensorAttentionShape(int HeadSize, int RowTiles)
{
    public const int Threads = 128;

    /// <summary>Keys that are loaded at a time.</summary>
    public const int TileKeys = 64;

    public int Queries => Threads / 32 * WarpQueries;

    public int WarpQueries => 16 * RowTiles;

    public SharedRows Rows => new(HeadSize / 8);

    /// <summary>A tile's keys, then its values; before the loop the queries.</summary>
    public int StageBytes => 2 * TileKeys * Rows.RowBytes;

    /// <summary>While one tile is used, the next one is loaded.</summary>
    public int SharedBytes => 2 * StageBytes;
}

/// <summary>
/// The same where queries and keys go through shared memory in pieces of 64 channels, and a group computes 128 of the head's columns: several groups compute
/// the same scores.
/// </summary>
internal static class DeepAttentionShape
{
    public const int Threads = 128;

    public const int Queries = 64;

    public const int TileKeys = 64;

    /// <summary>Columns of the output that one group computes.</summary>
    public const int PartColumns = 128;

    /// <summary>Channels of queries, keys and values that lie together in shared memory, for 64 rows.</summary>
    public const int PieceChannels = 64;

    public const int PieceBytes = 64 * PieceChannels * 2;

    /// <summary>Pieces of keys and values in shared memory: one that is used, the others on their way.</summary>
    public const int Slots = 4;

    /// <summary>Larger heads' queries leave no room for a block on consumers' GPUs, which have 99 KB.</summary>
    public const int MostChannels = 512;

    /// <summary>All of the queries' pieces, then the slots.</summary>
    public static int SharedBytes(int headSize) => ((headSize / PieceChannels) + Slots) * PieceBytes;
}
