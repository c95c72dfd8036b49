namespace StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

/// <summary>
/// Intel's matrix extensions (<c>dpas</c>) in Arc's first generation, by the extensions cl_intel_subgroup_matrix_multiply_accumulate and
/// cl_intel_subgroup_local_block_io. A lane has, of each of eight rows, two values of the depth; of one column it has all, and its eight sums.
/// </summary>
internal struct IntelMatrixUnit8 : IMatrixUnit
{
    public readonly int Lanes => 8;

    public readonly int Rows => 8;

    public readonly int Columns => 8;

    public readonly int RowFragments => 1;

    public readonly int Parts => 1;

    public readonly FragmentLayout Layout => FragmentLayout.Blocks;

    public readonly string Attributes => IntelMatrixText.Attributes(Lanes);

    public readonly string Text => IntelMatrixText.Common + """
        typedef int8 matrix_rows;
        #define MATRIX_READ_ROWS(p, distance) MATRIX_READ_COLUMNS(p, distance)
        #define MATRIX_LANE ((int)get_local_id(0) & 7)

        """;
}

/// <summary>
/// The same since Arc's second generation, and in data centres' GPUs: with twice the lanes, and so columns, a lane has one value of the depth of each row.
/// </summary>
internal struct IntelMatrixUnit16 : IMatrixUnit
{
    public readonly int Lanes => 16;

    public readonly int Rows => 8;

    public readonly int Columns => 16;

    public readonly int RowFragments => 1;

    public readonly int Parts => 1;

    public readonly FragmentLayout Layout => FragmentLayout.Blocks;

    public readonly string Attributes => IntelMatrixText.Attributes(Lanes);

    public readonly string Text => IntelMatrixText.Common + """
        #if !defined(cl_intel_subgroup_local_block_io) && !defined(intel_sub_group_block_read_us8)
        __attribute__((overloadable)) ushort8 intel_sub_group_block_read_us8(const __local ushort* p);
        #endif
        typedef short8 matrix_rows;
        #define MATRIX_READ_ROWS(p, distance) as_short8(intel_sub_group_block_read_us8((const __local ushort*)(p)))
        #define MATRIX_LANE ((int)get_local_id(0) & 15)

        """;
}

/// <summary>What both have in common. Drivers declare the functions with their extensions; Intel's compiler by itself, without a driver, knows them undeclared.</summary>
internal static class IntelMatrixText
{
    public const string Common = """
        #if !defined(cl_intel_subgroup_matrix_multiply_accumulate) && !defined(intel_sub_group_f16_f16_matrix_mad_k16)
        __attribute__((overloadable)) float8 intel_sub_group_f16_f16_matrix_mad_k16(int8 a, int8 b, float8 sums);
        __attribute__((overloadable)) float8 intel_sub_group_f16_f16_matrix_mad_k16(short8 a, int8 b, float8 sums);
        #endif
        #if !defined(cl_intel_subgroup_local_block_io) && !defined(intel_sub_group_block_read8)
        __attribute__((overloadable)) uint8 intel_sub_group_block_read8(const __local uint* p);
        #endif
        typedef int8 matrix_columns;
        typedef float8 matrix_sums;
        #define MATRIX_READ_COLUMNS(p, distance) as_int8(intel_sub_group_block_read8((const __local uint*)(p)))
        #define MATRIX_MULTIPLY_ADD(a, b, sums) intel_sub_group_f16_f16_matrix_mad_k16(a, b, sums)
        #define MATRIX_ROW(i) (i)
        #define MATRIX_COLUMN(i) MATRIX_LANE

        """;

    public static string Attributes(int lanes) => $"__attribute__((intel_reqd_sub_group_size({lanes})))";
}
