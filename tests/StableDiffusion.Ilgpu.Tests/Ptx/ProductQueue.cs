using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>
/// A warp's part of its warpgroup's products that were not waited for. A device may take the factors at any time between the instruction and the
/// wait. Here they are taken at once, and it is an error if they are others at the wait, or were written in registers; until then the sums' registers are
/// undefined.
/// </summary>
internal sealed unsafe class ProductQueue(Warp warp)
{
    /// <summary>Of 64 rows, the part of each of the four warps.</summary>
    private const int Rows = 16;

    private const int Depth = MatrixDescriptor.Depth;

    private readonly List<Sums> sums = [];
    private readonly List<Factor> factors = [];
    private readonly List<RegisterFactor> registerFactors = [];
    private int group;
    private long fence;

    public bool IsEmpty => sums.Count == 0;

    /// <summary>Products since the block began.</summary>
    public int Issued { get; private set; }

    /// <summary>Before a block's first instruction.</summary>
    public void Clear()
    {
        sums.Clear();
        factors.Clear();
        registerFactors.Clear();
        (group, fence, Issued) = (0, -1, 0);
    }

    /// <summary>Makes sums and factors in registers that were written so far ready for products.</summary>
    public void Fence() => fence = warp.Executed;

    /// <summary>Ends a group of products.</summary>
    public void Commit() => group++;

    /// <summary>D = A · B, or D + A · B.</summary>
    /// <param name="targets">D, 64 rows of eight columns for each four registers.</param>
    public void Multiply(Slot[] targets, MatrixDescriptor a, MatrixDescriptor b, bool adds)
    {
        Begin(a, b, adds);
        var left = Read(a, warp.Number % 4 * Rows, Rows);
        Add(targets, a.IsTransposed ? Transpose(left, Rows) : left, b, adds);
    }

    /// <summary>The same with the warp's 16 rows of A in registers, as those of <c>mma</c> with a depth of 16.</summary>
    public void Multiply(Slot[] targets, Slot[] a, MatrixDescriptor b, bool adds)
    {
        Begin(null, b, adds);
        Add(targets, Read(a), b, adds);
    }

    private void Begin(MatrixDescriptor? a, MatrixDescriptor b, bool adds)
    {
        warp.Block.WarpgroupOf(warp).Check(Issued++, a, b, adds);
        warp.Block.Statistics.Products++;
    }

    private void Add(Slot[] targets, float[] left, MatrixDescriptor b, bool adds)
    {
        var columns = targets.Length * 2;
        var target = Find(targets, adds);
        if (!adds)
        {
            Array.Clear(target.Values);
        }

        var right = Read(b, 0, columns);
        Multiply(left, b.IsTransposed ? right : Transpose(right, Depth), target.Values, columns);
        target.Group = group;
    }

    /// <summary>Ends all but the last groups.</summary>
    public void Wait(int groupsLeft)
    {
        var ended = group - groupsLeft;
        foreach (var factor in factors.Where(f => f.Group < ended))
        {
            Verify(factor);
        }

        factors.RemoveAll(f => f.Group < ended);
        foreach (var factor in registerFactors.Where(f => f.Group < ended))
        {
            Verify(factor);
        }

        registerFactors.RemoveAll(f => f.Group < ended);
        foreach (var sum in sums.Where(s => s.Group < ended))
        {
            Land(sum);
        }

        sums.RemoveAll(s => s.Group < ended);
    }

    /// <summary>The sums that earlier products in flight left in the same registers, or what the registers hold.</summary>
    private Sums Find(Slot[] targets, bool adds)
    {
        if (sums.Find(s => s.Registers.AsSpan().SequenceEqual(targets)) is { } known)
        {
            return known;
        }

        if (sums.Exists(s => s.Registers.Intersect(targets).Any()))
        {
            throw new PtxException("a product of another form that is in flight writes some of the registers");
        }

        if (registerFactors.Exists(f => f.Registers.Intersect(targets).Any()))
        {
            throw new PtxException("a product that is in flight reads some of the registers");
        }

        var added = new Sums(targets, new float[Rows * targets.Length * 2]);
        for (var i = 0; i < targets.Length; i++)
        {
            var register = targets[i];
            RequireFence(register, i, "sums");
            if (adds)
            {
                warp.Require(register, uint.MaxValue, "a summand");
            }

            for (var lane = 0; lane < Warp.Size; lane++)
            {
                added.Values[IndexOf(i, lane, targets.Length * 2)] = warp.Get<float>(register, lane);
            }

            warp.Defined[register.Index] = 0;
        }

        sums.Add(added);
        return added;
    }

    private void Land(Sums sum)
    {
        for (var i = 0; i < sum.Registers.Length; i++)
        {
            var register = sum.Registers[i];
            if (warp.Defined[register.Index] != 0)
            {
                throw new PtxException($"register {i} of the sums was written before they were waited for");
            }

            for (var lane = 0; lane < Warp.Size; lane++)
            {
                Warp.Set(warp.Registers + register.Offset, lane, sum.Values[IndexOf(i, lane, sum.Registers.Length * 2)]);
            }

            warp.Defined[register.Index] = uint.MaxValue;
        }
    }

    /// <summary>Of a lane's register among the warp's rows.</summary>
    private static int IndexOf(int register, int lane, int columns) =>
        (((lane / 4) + (register % 4 / 2 * 8)) * columns) + (register / 4 * 8) + (lane % 4 * 2) + (register % 2);

    private float[] Read(MatrixDescriptor matrix, int firstRow, int rows)
    {
        var (addresses, values) = (matrix.Addresses(firstRow, rows), new Half[rows * Depth]);
        for (var i = 0; i < addresses.Length; i++)
        {
            var piece = warp.Block.Shared.ReadAsynchronously(addresses[i], warp.Number);
            new ReadOnlySpan<Half>(piece, MatrixDescriptor.Piece).CopyTo(values.AsSpan(i * MatrixDescriptor.Piece));
        }

        factors.Add(new Factor(group, addresses, values));
        var result = new float[values.Length];
        TensorPrimitives.ConvertToSingle(values, result);
        return result;
    }

    /// <summary>A lane's registers: rows l / 4 and eight below, of two depths from (l % 4) * 2 on, then the same eight depths further.</summary>
    private float[] Read(Slot[] registers)
    {
        var result = new float[Rows * Depth];
        for (var i = 0; i < registers.Length; i++)
        {
            var register = registers[i];
            RequireFence(register, i, "factor");
            warp.Require(register, uint.MaxValue, "a factor");
            for (var lane = 0; lane < Warp.Size; lane++)
            {
                var (pair, at) = (warp.Get<uint>(register, lane), (((lane / 4) + (i % 2 * 8)) * Depth) + (i / 2 * 8) + (lane % 4 * 2));
                (result[at], result[at + 1]) = (Matrices.Singles[pair & 0xFFFF], Matrices.Singles[pair >> 16]);
            }
        }

        registerFactors.Add(new RegisterFactor(group, registers, warp.Executed));
        return result;
    }

    private void RequireFence(Slot register, int number, string among)
    {
        if (warp.Written[register.Index] > fence)
        {
            throw new PtxException($"register {number} of the {among} was written without a wgmma.fence behind it, or there was none at all");
        }
    }

    private void Verify(RegisterFactor factor)
    {
        var written = Array.FindIndex(factor.Registers, r => warp.Written[r.Index] > factor.Executed);
        if (written >= 0)
        {
            throw new PtxException($"register {written} of the factor was written before the product was waited for");
        }
    }

    /// <summary>What was read early must be there still.</summary>
    private void Verify(Factor factor)
    {
        const int Bytes = MatrixDescriptor.Piece * 2;
        var values = MemoryMarshal.AsBytes(factor.Values.AsSpan());
        for (var i = 0; i < factor.Addresses.Length; i++)
        {
            var piece = new ReadOnlySpan<byte>(warp.Block.Shared.Read(factor.Addresses[i], Bytes, Bytes, warp.Number), Bytes);
            if (!piece.SequenceEqual(values.Slice(i * Bytes, Bytes)))
            {
                throw new PtxException($"shared address {factor.Addresses[i]} was written before the product that reads it was waited for");
            }
        }
    }

    /// <param name="values">Lines.</param>
    /// <param name="length">Of a line.</param>
    private static float[] Transpose(float[] values, int length)
    {
        var (result, lines) = (new float[values.Length], values.Length / length);
        for (var line = 0; line < lines; line++)
        {
            for (var i = 0; i < length; i++)
            {
                result[(i * lines) + line] = values[(line * length) + i];
            }
        }

        return result;
    }

    /// <summary>Exact products of fp16 values, sums in the order of the depth.</summary>
    /// <param name="a">Rows x depth.</param>
    /// <param name="b">Depth x columns.</param>
    /// <param name="d">Rows x columns.</param>
    private static void Multiply(float[] a, float[] b, float[] d, int columns)
    {
        fixed (float* left = a, right = b, result = d)
        {
            for (var row = 0; row < Rows; row += 4)
            {
                var factors = left + (row * Depth);
                for (var column = 0; column < columns; column += 8)
                {
                    var at = result + (row * columns) + column;
                    var (sum0, sum1) = (Vector256.Load(at), Vector256.Load(at + columns));
                    var (sum2, sum3) = (Vector256.Load(at + (2 * columns)), Vector256.Load(at + (3 * columns)));
                    for (var k = 0; k < Depth; k++)
                    {
                        var values = Vector256.Load(right + (k * columns) + column);
                        sum0 += Vector256.Create(factors[k]) * values;
                        sum1 += Vector256.Create(factors[Depth + k]) * values;
                        sum2 += Vector256.Create(factors[(2 * Depth) + k]) * values;
                        sum3 += Vector256.Create(factors[(3 * Depth) + k]) * values;
                    }

                    sum0.Store(at);
                    sum1.Store(at + columns);
                    sum2.Store(at + (2 * columns));
                    sum3.Store(at + (3 * columns));
                }
            }
        }
    }

    /// <summary>The warp's rows of D, row by row.</summary>
    private sealed class Sums(Slot[] registers, float[] values)
    {
        public Slot[] Registers => registers;

        public float[] Values => values;

        /// <summary>Of the last product.</summary>
        public int Group { get; set; }
    }

    private readonly record struct Factor(int Group, ulong[] Addresses, Half[] Values);

    /// <param name="Group">Of the product.</param>
    /// <param name="Registers">The warp's.</param>
    /// <param name="Executed">Instructions until the product.</param>
    private readonly record struct RegisterFactor(int Group, Slot[] Registers, long Executed);
}
