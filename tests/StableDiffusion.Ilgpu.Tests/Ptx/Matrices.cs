using System.Runtime.Intrinsics;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>What a whole warp computes on small matrices: <c>ldmatrix</c> and <c>mma</c>. The layouts are those of the PTX manual.</summary>
internal static unsafe class Matrices
{
    /// <summary>Each fp16 value in fp32.</summary>
    public static readonly float[] Singles = [.. Enumerable.Range(0, 1 << 16).Select(bits => (float)BitConverter.UInt16BitsToHalf((ushort)bits))];

    public static Execute Decode(PtxDecoder d) => d.Name == "mma" ? Multiply(d) : Load(d);

    /// <summary>
    /// 8x8 matrices of 16-bit values whose rows' addresses the lanes hold, eight a matrix. Lane l gets two values of row l / 4, or with
    /// <c>.trans</c> of column l / 4.
    /// </summary>
    private static Execute Load(PtxDecoder d)
    {
        d.Allow("sync", "aligned", "m8n8", "x1", "x2", "x4", "trans", "shared", "shared::cta");
        d.Expect(2);
        var targets = d.Vector(0).Select(n => d.Target(n, 32)).ToArray();
        var (address, transposed) = (d.Address(1), d.Has("trans"));
        if (targets.Length != (d.Has("x4") ? 4 : d.Has("x2") ? 2 : 1) || !d.Has("m8n8") || d.Type != "b16")
        {
            throw d.Fail("this form is not interpreted");
        }

        return (warp, mask) =>
        {
            RequireWhole(mask);
            var rows = targets.Length * 8;
            var used = rows == Warp.Size ? uint.MaxValue : (1u << rows) - 1;
            warp.Require(address.Base, used, "the address");
            Span<ulong> addresses = stackalloc ulong[Warp.Size];
            Span<ushort> values = stackalloc ushort[Warp.Size * 8];
            for (var row = 0; row < rows; row++)
            {
                addresses[row] = Memory.SharedAddress(warp, address, row);
                new ReadOnlySpan<ushort>(warp.Block.Shared.Read(addresses[row], 16, 16, warp.Number), 8).CopyTo(values[(row * 8)..]);
            }

            warp.Block.Shared.CountBanks(SharedAccess.Matrix, addresses, used, 16);
            for (var m = 0; m < targets.Length; m++)
            {
                var matrix = values.Slice(m * 64, 64);
                for (var lane = 0; lane < Warp.Size; lane++)
                {
                    var (i, j) = (lane / 4, lane % 4 * 2);
                    var (low, high) = transposed ? (matrix[(j * 8) + i], matrix[((j + 1) * 8) + i]) : (matrix[(i * 8) + j], matrix[(i * 8) + j + 1]);
                    Warp.Set(warp.Registers + targets[m].Offset, lane, low | ((uint)high << 16));
                }

                warp.Define(targets[m], mask, mask);
            }
        };
    }

    /// <summary>D = A · B + C with A of 16 x k fp16 values, k being 16 or 8, B of k x 8, C and D of 16 x 8 fp32 values: exact products, sums in the order of k.</summary>
    private static Execute Multiply(PtxDecoder d)
    {
        string[] form = [.. d.Statement.Parts.Skip(1)];
        var depth = form.Contains("m16n8k8") ? 8 : 16;
        if (!form.SequenceEqual(["sync", "aligned", $"m16n8k{depth}", "row", "col", "f32", "f16", "f16", "f32"]))
        {
            throw d.Fail("this form is not interpreted");
        }

        d.Expect(4);
        var targets = d.Vector(0).Select(n => d.Target(n, 32)).ToArray();
        var (a, b, c) = (Sources(d, 1, depth / 4), Sources(d, 2, depth / 8), Sources(d, 3, 4));
        return (warp, mask) =>
        {
            RequireWhole(mask);
            warp.Block.Statistics.Products++;
            foreach (var source in (ReadOnlySpan<Slot>)[.. a, .. b, .. c])
            {
                warp.Require(source, mask, "a factor or summand");
            }

            Span<float> left = stackalloc float[16 * 16];
            Span<float> right = stackalloc float[16 * 8];
            Span<float> sums = stackalloc float[16 * 8];
            for (var lane = 0; lane < Warp.Size; lane++)
            {
                var (group, pair) = (lane / 4, lane % 4 * 2);
                for (var r = 0; r < a.Length; r++)
                {
                    var (value, at) = (warp.Get<uint>(a[r], lane), ((group + (8 * (r & 1))) * 16) + pair + (8 * (r >> 1)));
                    (left[at], left[at + 1]) = (Low(value), High(value));
                }

                for (var r = 0; r < c.Length; r++)
                {
                    sums[((group + (8 * (r >> 1))) * 8) + pair + (r & 1)] = warp.Get<float>(c[r], lane);
                }

                for (var r = 0; r < b.Length; r++)
                {
                    var (value, k) = (warp.Get<uint>(b[r], lane), pair + (8 * r));
                    (right[(k * 8) + group], right[((k + 1) * 8) + group]) = (Low(value), High(value));
                }
            }

            for (var row = 0; row < 16; row++)
            {
                var sum = Vector256.Create<float>(sums.Slice(row * 8, 8));
                for (var k = 0; k < depth; k++)
                {
                    // The product of two fp16 values is exact in fp32.
                    sum += Vector256.Create(left[(row * 16) + k]) * Vector256.Create<float>(right.Slice(k * 8, 8));
                }

                sum.CopyTo(sums.Slice(row * 8, 8));
            }

            for (var r = 0; r < 4; r++)
            {
                for (var lane = 0; lane < Warp.Size; lane++)
                {
                    Warp.Set(warp.Registers + targets[r].Offset, lane, sums[((lane / 4) + (8 * (r >> 1))) * 8 + (lane % 4 * 2) + (r & 1)]);
                }

                warp.Define(targets[r], mask, mask);
            }
        };
    }

    private static Slot[] Sources(PtxDecoder d, int operand, int count)
    {
        var names = d.Vector(operand);
        return names.Length == count ? [.. names.Select(n => d.Source(n, 32))] : throw d.Fail($"{names.Length} registers, {count} expected");
    }

    public static void RequireWhole(uint mask)
    {
        if (mask != uint.MaxValue)
        {
            throw new PtxException("not all 32 lanes of the warp take part");
        }
    }

    private static float Low(uint pair) => Singles[pair & 0xFFFF];

    private static float High(uint pair) => Singles[pair >> 16];
}
