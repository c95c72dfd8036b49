namespace StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

/// <summary>
/// AMD's <c>v_wmma</c> in RDNA 3 (its instruction set's section 7.9), by a function of clang, which AMD's OpenCL compiles with. A lane has all sixteen values of one row, and
/// of one column; lanes 16 to 31 have the same again. Of the sums it has every second row of one column.
/// </summary>
internal struct AmdMatrixUnit11 : IMatrixUnit
{
    public readonly int Lanes => 32;

    public readonly int Rows => 16;

    public readonly int Columns => 16;

    public readonly int RowFragments => 1;

    public readonly int Parts => 1;

    public readonly FragmentLayout Layout => FragmentLayout.Chunks;

    public readonly string Attributes => "";

    public readonly string Text => AmdMatrixText.Common + """
        typedef int8 matrix_rows;
        typedef float8 matrix_sums;
        #define MATRIX_READ_ROWS(p, distance) (int8)(vload4(MATRIX_LINE, p), vload4(MATRIX_LINE, (p) + (distance)))
        #define MATRIX_ROW(i) (2 * (i) + ((int)get_local_id(0) >> 4 & 1))
        #define MATRIX_MULTIPLY_ADD(a, b, sums) __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(as_half16(a), as_half16(b), sums)

        """;
}

/// <summary><c>v_wmma</c> in RDNA 4: a lane has eight values of the depth, lanes 16 to 31 the second eight; and of the sums eight neighbouring rows.</summary>
internal struct AmdMatrixUnit12 : IMatrixUnit
{
    public readonly int Lanes => 32;

    public readonly int Rows => 16;

    public readonly int Columns => 16;

    public readonly int RowFragments => 1;

    public readonly int Parts => 1;

    public readonly FragmentLayout Layout => FragmentLayout.Chunks;

    public readonly string Attributes => "";

    public readonly string Text => AmdMatrixText.Common + """
        typedef int4 matrix_rows;
        typedef float8 matrix_sums;
        #define MATRIX_HALF ((int)get_local_id(0) >> 4 & 1)
        #define MATRIX_READ_ROWS(p, distance) vload4(MATRIX_LINE, (p) + MATRIX_HALF * (distance))
        #define MATRIX_ROW(i) (8 * MATRIX_HALF + (i))
        #define MATRIX_MULTIPLY_ADD(a, b, sums) __builtin_amdgcn_wmma_f32_16x16x16_f16_w32_gfx12(as_half8(a), as_half8(b), sums)

        """;
}

/// <summary>
/// <c>v_mfma</c> of AMD's data centres' GPUs since CDNA (the CDNA 3 instruction set's section 7): a lane of 64 has four values of the depth, and four neighbouring rows
/// of the sums.
/// </summary>
internal struct AmdMatrixUnit64 : IMatrixUnit
{
    public readonly int Lanes => 64;

    public readonly int Rows => 16;

    public readonly int Columns => 16;

    public readonly int RowFragments => 1;

    public readonly int Parts => 1;

    public readonly FragmentLayout Layout => FragmentLayout.Chunks;

    public readonly string Attributes => "";

    public readonly string Text => AmdMatrixText.Common + """
        typedef int2 matrix_rows;
        typedef float4 matrix_sums;
        #define MATRIX_QUARTER ((int)get_local_id(0) >> 4 & 3)
        #define MATRIX_READ_ROWS(p, distance) vload2(2 * MATRIX_LINE + MATRIX_QUARTER % 2, (p) + MATRIX_QUARTER / 2 * (distance))
        #define MATRIX_ROW(i) (4 * MATRIX_QUARTER + (i))
        #define MATRIX_MULTIPLY_ADD(a, b, sums) __builtin_amdgcn_mfma_f32_16x16x16f16(as_half4(a), as_half4(b), sums, 0, 0, 0)

        """;
}

/// <summary>
/// <c>v_dot2_f32_f16</c>, which RDNA 2 and GPUs around it have: no matrix unit, but two multiply-adds of fp16 values in one instruction. Each work-item by itself
/// multiplies a row by a column.
/// </summary>
internal struct AmdDotUnit : IMatrixUnit
{
    public readonly int Lanes => 1;

    public readonly int Rows => 1;

    public readonly int Columns => 1;

    public readonly int RowFragments => 8;

    public readonly int Parts => 8;

    public readonly FragmentLayout Layout => FragmentLayout.Chunks;

    public readonly string Attributes => "";

    public readonly string Text => AmdMatrixText.Fp16 + """
        typedef int8 matrix_rows;
        typedef int8 matrix_columns;
        typedef float matrix_sums;
        #define MATRIX_READ_ROWS(p, distance) (int8)(vload4(0, p), vload4(0, (p) + (distance)))
        #define MATRIX_READ_COLUMNS(p, distance) MATRIX_READ_ROWS(p, distance)
        #define MATRIX_ROW(i) 0
        #define MATRIX_COLUMN(i) 0
        #define MATRIX_MULTIPLY_ADD(a, b, sum) __builtin_amdgcn_fdot2(as_half2(a), as_half2(b), sum, false)

        """;
}

/// <summary>What they have in common.</summary>
internal static class AmdMatrixText
{
    public const string Fp16 = """
        #ifdef cl_khr_fp16
        #pragma OPENCL EXTENSION cl_khr_fp16 : enable
        #endif

        """;

    /// <summary>A lane reads of a column what it reads of a row.</summary>
    public const string Common = Fp16 + """
        #define matrix_columns matrix_rows
        #define MATRIX_LINE ((int)get_local_id(0) & 15)
        #define MATRIX_READ_COLUMNS(p, distance) MATRIX_READ_ROWS(p, distance)
        #define MATRIX_COLUMN(i) MATRIX_LINE

        """;
}
