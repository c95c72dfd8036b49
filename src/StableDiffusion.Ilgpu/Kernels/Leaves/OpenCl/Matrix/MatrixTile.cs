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

    /// <summary>Values from one row of sums in shared memory to the next.</summary>
    int SumsPitch => Columns;

    /// <summary>Its sums' in a kernel, which may have those of several tiles.</summary>
    string Name => "sums";
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

/// <summary>The scores of attention: 64 queries by 32 keys.</summary>
internal struct ScoresTile : IMatrixTile
{
    public readonly int Rows => 64;

    public readonly int Columns => 32;

    public readonly int WorkItems => 128;

    public readonly int RowFragments => 1;

    /// <summary>Work-items read a row each, four values at a time: the 4 more let eight of them fall on different banks.</summary>
    public readonly int SumsPitch => Columns + 4;

    public readonly string Name => "scores";
}

/// <summary>The output of attention: 64 queries by up to 48 of a head's columns.</summary>
internal struct Output48Tile : IMatrixTile
{
    public readonly int Rows => 64;

    public readonly int Columns => 48;

    public readonly int WorkItems => 128;

    public readonly int RowFragments => 1;
}

/// <summary>Up to 64 of a head's columns.</summary>
internal struct Output64Tile : IMatrixTile
{
    public readonly int Rows => 64;

    public readonly int Columns => 64;

    public readonly int WorkItems => 128;

    public readonly int RowFragments => 1;
}

/// <summary>Up to 80 of a head's columns.</summary>
internal struct Output80Tile : IMatrixTile
{
    public readonly int Rows => 64;

    public readonly int Columns => 80;

    public readonly int WorkItems => 128;

    public readonly int RowFragments => 1;
}

/// <summary>
/// How a tile is dealt out to the sub-groups: each has the same number of fragments of rows, and those of some columns.
/// </summary>
/// <param name="RowFragments">Of a sub-group.</param>
/// <param name="ColumnFragments">Of a sub-group.</param>
/// <param name="RowGroups">Sub-groups that have different rows; beyond so many, they have other columns of the same rows.</param>
/// <param name="ColumnGroups">Sub-groups that have the same rows.</param>
internal readonly record struct MatrixShares(int RowFragments, int ColumnFragments, int RowGroups, int ColumnGroups)
{
    public static MatrixShares Of<TUnit, TTile>()
        where TUnit : struct, IMatrixUnit
        where TTile : struct, IMatrixTile
    {
        var (unit, tile) = (default(TUnit), default(TTile));
        var (subGroups, fragments) = (tile.WorkItems / unit.Lanes, tile.Rows / unit.Rows);
        var rowFragments = Math.Max(Math.Max(tile.RowFragments, unit.RowFragments), fragments / subGroups);
        var rowGroups = fragments / rowFragments;
        var columnGroups = subGroups / rowGroups;
        return new MatrixShares(rowFragments, tile.Columns / unit.Columns / columnGroups, rowGroups, columnGroups);
    }
}
