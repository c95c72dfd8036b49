namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>A size of attention's heads. Kernels are compiled for each implementation.</summary>
internal interface ITensorHead
{
    /// <summary>A multiple of 8.</summary>
    int Size { get; }
}

/// <summary>Tiles of 16 queries in each warp.</summary>
internal interface IRowTiles
{
    int Count { get; }
}

internal struct OneRowTile : IRowTiles
{
    public readonly int Count => 1;
}

/// <summary>Keys and values are read half as often, where registers suffice.</summary>
internal struct TwoRowTiles : IRowTiles
{
    public readonly int Count => 2;
}

internal struct Head8 : ITensorHead
{
    public readonly int Size => 8;
}

internal struct Head16 : ITensorHead
{
    public readonly int Size => 16;
}

internal struct Head24 : ITensorHead
{
    public readonly int Size => 24;
}

internal struct Head32 : ITensorHead
{
    public readonly int Size => 32;
}

internal struct Head40 : ITensorHead
{
    public readonly int Size => 40;
}

internal struct Head48 : ITensorHead
{
    public readonly int Size => 48;
}

internal struct Head64 : ITensorHead
{
    public readonly int Size => 64;
}

internal struct Head80 : ITensorHead
{
    public readonly int Size => 80;
}

internal struct Head96 : ITensorHead
{
    public readonly int Size => 96;
}

internal struct Head128 : ITensorHead
{
    public readonly int Size => 128;
}

internal struct Head160 : ITensorHead
{
    public readonly int Size => 160;
}
