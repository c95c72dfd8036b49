namespace StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

/// <summary>
/// An instruction by which a GPU's sub-group multiplies two fragments of matrices and adds the product to a third: fp16 values, 16 of the depth at a
/// time, sums in fp32. Kernels are compiled for each implementation.
/// </summary>
internal interface IMatrixUnit
{
    /// <summary>Work-items of a sub-group; a power of two.</summary>
    int Lanes { get; }

    /// <summary>Rows of a product.</summary>
    int Rows { get; }

    /// <summary>Columns of a product.</summary>
    int Columns { get; }

    /// <summary>Fragments of rows that a sub-group should have at least, so that what it reads of them serves many products.</summary>
    int RowFragments { get; }

    /// <summary>
    /// Parts of the depth that a product is taken in. With more than one, a lane's part of a fragment is a vector of so many, and between two products for one sum stand
    /// those for others, which do not wait for it.
    /// </summary>
    int Parts { get; }

    /// <summary>How fragments lie in local memory.</summary>
    FragmentLayout Layout { get; }

    /// <summary>What a kernel that multiplies so is declared with.</summary>
    string Attributes { get; }

    /// <summary>
    /// What stands before the kernel, and defines for the texts of <see cref="ClMatrixText{TUnit, TTile}"/>: the types <c>matrix_rows</c>, <c>matrix_columns</c>
    /// and <c>matrix_sums</c> of a lane's part of a fragment; how it reads its part
    /// (<c>MATRIX_READ_ROWS</c>, <c>MATRIX_READ_COLUMNS</c>) from a pointer to local memory, given the distance of the second eight values of the depth; the
    /// product (<c>MATRIX_MULTIPLY_ADD</c>); and of the lane's sum i the <c>MATRIX_ROW</c> and the <c>MATRIX_COLUMN</c>.
    /// </summary>
    string Text { get; }

    /// <summary>What a kernel declares that cannot stand before it.</summary>
    string Locals => "";
}

/// <summary>How a tile's rows and columns lie in local memory, for each 16 values of the depth. Two values are an int.</summary>
internal enum FragmentLayout
{
    /// <summary>
    /// As lanes with neighbouring ints take them up: rows as [row, depth]; of each fragment's columns first those two values of the depth that come first,
    /// [depth / 2, column, 2].
    /// </summary>
    Blocks,

    /// <summary>As each lane reads its own row or column, eight values at once: [depth / 8, row, 8], and columns likewise.</summary>
    Chunks,
}
