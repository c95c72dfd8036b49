using StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>
/// A matrix unit whose vendor's functions are emulated in OpenCL C, so that any device runs its kernels; everything else is the unit's own text. Which lane
/// has which values is written down here from the vendors' documents once more: each lane lays its parts of both fragments down, and adds its sums up from
/// what all have laid down. Those documents are Khronos' registry of cl_intel_subgroup_matrix_multiply_accumulate and cl_intel_subgroup_local_block_io, and
/// AMD's of RDNA 3's, RDNA 4's and CDNA 3's instructions.
/// </summary>
internal readonly struct EmulatedMatrixUnit<TUnit> : IMatrixUnit where TUnit : struct, IMatrixUnit
{
    public int Lanes => default(TUnit).Lanes;

    public int Rows => default(TUnit).Rows;

    public int Columns => default(TUnit).Columns;

    public int RowFragments => default(TUnit).RowFragments;

    public int Parts => default(TUnit).Parts;

    public FragmentLayout Layout => default(TUnit).Layout;

    public string Attributes => "";

    public string Text => EmulatedMatrixText.Of<TUnit>() + default(TUnit).Text;

    public string Locals => $"__local int matrix_exchange[{EmulatedMatrixText.Exchanged} * {MostWorkItems}];\n";

    private const int MostWorkItems = 128;
}

/// <summary>The vendors' functions.</summary>
internal static class EmulatedMatrixText
{
    /// <summary>Ints that a lane lays down: eight of each fragment.</summary>
    public const int Exchanged = 16;

    private const string IntelBlocks = """
        #define intel_sub_group_block_read8(p) emulated_block(p, MATRIX_LANE, matrix_lanes)
        #define intel_sub_group_block_read_us8(p) emulated_block_us(p, MATRIX_LANE, matrix_lanes)
        uint8 emulated_block(const __local uint* p, int lane, int lanes)
        {
            return (uint8)(p[lane], p[lanes + lane], p[2 * lanes + lane], p[3 * lanes + lane], p[4 * lanes + lane], p[5 * lanes + lane], p[6 * lanes + lane], p[7 * lanes + lane]);
        }
        ushort8 emulated_block_us(const __local ushort* p, int lane, int lanes)
        {
            return (ushort8)(p[lane], p[lanes + lane], p[2 * lanes + lane], p[3 * lanes + lane], p[4 * lanes + lane], p[5 * lanes + lane], p[6 * lanes + lane], p[7 * lanes + lane]);
        }
        #define intel_sub_group_f16_f16_matrix_mad_k16(a, b, sums) emulated_product(a, b, sums, matrix_exchange)

        """;

    public static string Of<TUnit>() where TUnit : struct, IMatrixUnit => default(TUnit) switch
    {
        IntelMatrixUnit8 => IntelBlocks + Product(
            8, "int8", "vstore8", "int", "int8", "float8", 8, row: "i", column: "lane", aLane: "k / 2", aHalf: "2 * row + k % 2", bLane: "column", bHalf: "k"),
        IntelMatrixUnit16 => IntelBlocks + Product(
            16, "short8", "vstore8", "short", "int8", "float8", 8, row: "i", column: "lane", aLane: "k", aHalf: "row", bLane: "column", bHalf: "k"),
        AmdMatrixUnit11 => "#define as_half16(x) (x)\n#define __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(a, b, sums) emulated_product(a, b, sums, matrix_exchange)\n" + Product(
            32, "int8", "vstore8", "int", "int8", "float8", 8, row: "2 * i + lane / 16", column: "lane % 16", aLane: "lane / 16 * 16 + row", aHalf: "k",
            bLane: "lane / 16 * 16 + column", bHalf: "k"),
        AmdMatrixUnit12 => "#define as_half8(x) (x)\n#define __builtin_amdgcn_wmma_f32_16x16x16_f16_w32_gfx12(a, b, sums) emulated_product(a, b, sums, matrix_exchange)\n" + Product(
            32, "int4", "vstore4", "int", "int4", "float8", 8, row: "lane / 16 * 8 + i", column: "lane % 16", aLane: "k / 8 * 16 + row", aHalf: "k % 8",
            bLane: "k / 8 * 16 + column", bHalf: "k % 8"),
        AmdMatrixUnit64 => "#define as_half4(x) (x)\n#define __builtin_amdgcn_mfma_f32_16x16x16f16(a, b, sums, x, y, z) emulated_product(a, b, sums, matrix_exchange)\n" + Product(
            64, "int2", "vstore2", "int", "int2", "float4", 4, row: "lane / 16 * 4 + i", column: "lane % 16", aLane: "k / 4 * 16 + row", aHalf: "k % 4",
            bLane: "k / 4 * 16 + column", bHalf: "k % 4"),
        AmdDotUnit => """
            #define as_half2(x) (x)
            #define __builtin_amdgcn_fdot2(a, b, sum, clamp) emulated_dot(a, b, sum)
            float emulated_dot(int a, int b, float sum)
            {
                return sum + vload_half(0, (const __private half*)&a) * vload_half(0, (const __private half*)&b)
                    + vload_half(1, (const __private half*)&a) * vload_half(1, (const __private half*)&b);
            }

            """,
        var unit => throw new NotSupportedException($"{unit} is not emulated"),
    };

    /// <summary>Sum i of a lane is at row and column; value (row, k) of the first fragment is number aHalf of what lane aLane has, and (k, column) of the second likewise.</summary>
    private static string Product(
        int lanes, string a, string store, string aElement, string b, string sums, int count, string row, string column, string aLane, string aHalf, string bLane, string bHalf) => $$"""
        #define matrix_lanes {{lanes}}
        {{sums}} emulated_product({{a}} a, {{b}} b, {{sums}} sums, __local int* exchange)
        {
            const int lane = (int)get_local_id(0) % matrix_lanes;
            exchange += (int)get_local_id(0) / matrix_lanes * matrix_lanes * {{Exchanged}};
            {{store}}(a, 0, (__local {{aElement}}*)(exchange + lane * {{Exchanged}}));
            vstore{{b[3..]}}(b, 0, exchange + lane * {{Exchanged}} + {{Exchanged / 2}});
            barrier(CLK_LOCAL_MEM_FENCE);
            float all[{{count}}];
            for (int i = 0; i < {{count}}; i++)
            {
                const int row = {{row}}, column = {{column}};
                all[i] = 0;
                for (int k = 0; k < 16; k++)
                {
                    all[i] += vload_half({{aHalf}}, (const __local half*)(exchange + ({{aLane}}) * {{Exchanged}}))
                        * vload_half({{bHalf}}, (const __local half*)(exchange + ({{bLane}}) * {{Exchanged}} + {{Exchanged / 2}}));
                }
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            return sums + vload{{count}}(0, all);
        }

        """;
}
