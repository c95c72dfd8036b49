namespace StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

/// <summary>The part of a product that one group computes on matrix units. Kernels are compiled for each implementation.</summary>
internal interface IMatrixTile
{
    int Rows { get; }

    int Columns { get; }

    /// <summary>Of the group.</summary>
    int WorkItems { get; }

    /// <summary>Fragments of rows that a sub-group has at least.</summary>
    int RowFragments { get; }
}

/// <summary>For contractions that are large enough to keep a device busy with such tiles.</summary>
internal struct LargeMatrixTile : IMatrixTile
{
    public readonly int Rows => 128;

    public readonly int Columns => 64;

    public readonly int WorkItems => 128;

    public readonly int RowFragments => 2;
}

/// <summary>For all others.</summary>
internal struct SmallMatrixTile : IMatrixTile
{
    public readonly int Rows => 64;

    public readonly int Columns => 32;

    public readonly int WorkItems => 64;

    public readonly int RowFragments => 2;
}

/// <summary>
/// How a tile is dealt out to the sub-groups: each has the same number of fragments of rows, and those of some columns.
/// </summary>
/// <param name="RowFragments">Of a sub-group, one below the other.</param>
/// <param name="ColumnFragments">Of a sub-group, side by side.</param>
/// <param name="RowGroups">Sub-groups that have different rows; beyond so many, they have other columns of the same rows.</param>
internal readonly record struct MatrixShares(int RowFragments, int ColumnFragments, int RowGroups)
{
    public static MatrixShares Of<TUnit, TTile>()
        where TUnit : struct, IMatrixUnit
        where TTile : struct, IMatrixTile
    {
        var (unit, tile) = (default(TUnit), default(TTile));
        var (subGroups, fragments) = (tile.WorkItems / unit.Lanes, tile.Rows / unit.Rows);
        var rowFragments = Math.Max(tile.RowFragments, fragments / subGroups);
        var rowGroups = fragments / rowFragments;
        return new MatrixShares(rowFragments, tile.Columns / unit.Columns * rowGroups / subGroups, rowGroups);
    }
}
