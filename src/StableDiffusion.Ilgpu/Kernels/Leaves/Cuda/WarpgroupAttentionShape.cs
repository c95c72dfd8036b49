namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// What a group of two warpgroups computes of an attention for compute capability 9.0, and how keys and values lie in shared memory: as panels of 32
/// channels, a row of 64 bytes for each key, in which chunk c of row r is stored at c ^ (r / 2 % 4). It is what NVIDIA calls a swizzle of 64 bytes,
/// where panels begin at multiples of 1024.
/// </summary>
/// <param name="HeadSize">A multiple of 8.</param>
internal readonly record struct WarpgroupAttentionShape(int HeadSize)
{
    public const int Threads = 256;

    /// <summary>64 of each warpgroup.</summary>
    public const int Queries = 128;

    /// <summary>Keys that are loaded at a time.</summary>
    public const int TileKeys = 64;

    /// <summary>One that is used, one whose scores are begun, one on its way, and one that the other warpgroup may still use.</summary>
    public const int Stages = 4;

    /// <summary>Models have few queries with larger heads.</summary>
    public const int MostChannels = 80;

    /// <summary>Larger heads leave no room for two groups in a multiprocessor's registers.</summary>
    private const int MostChannelsOfTwo = 64;

    /// <summary>Of a panel's row.</summary>
    public const int RowBytes = 64;

    public const int PanelBytes = TileKeys * RowBytes;

    /// <summary>Chunks of 16 bytes in a panel's row.</summary>
    public const int PanelChunks = RowBytes / 16;

    /// <summary>Groups that should fit a multiprocessor's registers at the same time.</summary>
    public int GroupsPerMultiprocessor => HeadSize <= MostChannelsOfTwo ? 2 : 1;

    /// <summary>Of a head.</summary>
    public int Chunks => HeadSize / 8;

    /// <summary>Steps of the matrix instruction over the head's channels, 16 each; the last one's other half is zeros where the head ends before.</summary>
    public int DepthSteps => (Chunks + 1) / 2;

    private int Panels => (Chunks + PanelChunks - 1) / PanelChunks;

    /// <summary>Where a stage's values begin, behind its keys.</summary>
    public int ValuesOffset => Panels * PanelBytes;

    public int StageBytes => 2 * ValuesOffset;

    /// <summary>The stages, and what it takes to begin at a multiple of <see cref="TensorTileShape.SwizzleAlignment"/>.</summary>
    public int SharedBytes => (Stages * StageBytes) + TensorTileShape.SwizzleAlignment;
}
