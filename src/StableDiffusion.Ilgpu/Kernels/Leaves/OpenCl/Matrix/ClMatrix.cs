using ILGPU;
using ILGPU.Backends.OpenCL;
using ILGPU.IR;
using ILGPU.IR.Intrinsics;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

#pragma warning disable CA1801, IDE0060 // The methods stand for OpenCL text that uses their parameters.

/// <summary>What a kernel that uses matrix units needs once, before all else.</summary>
internal static class ClMatrix<TUnit> where TUnit : struct, IMatrixUnit
{
    /// <param name="workItems">Of a group; a constant.</param>
    [IntrinsicImplementation]
    public static void Declare(int workItems) => throw ClVector.NotOpenCl();
}

/// <summary>
/// A tile's sums on matrix units, in the registers of its group's sub-groups. A kernel calls <see cref="Begin"/> once in its code, before all else of the tile.
/// The text is in <see cref="ClMatrixText{TUnit, TTile}"/>.
/// </summary>
internal static class ClMatrix<TUnit, TTile>
    where TUnit : struct, IMatrixUnit
    where TTile : struct, IMatrixTile
{
    /// <summary>Sums of zero.</summary>
    [IntrinsicImplementation]
    public static void Begin() => throw ClVector.NotOpenCl();

    /// <summary>Adds the products of 16 values of the depth, two of them in an int.</summary>
    /// <param name="rows">In shared memory: the tile's rows.</param>
    /// <param name="columns">In shared memory: the tile's columns.</param>
    [IntrinsicImplementation]
    public static void MultiplyAdd(ref int rows, ref int columns) => throw ClVector.NotOpenCl();

    /// <summary>Multiplies each row's sums.</summary>
    /// <param name="factors">In shared memory, one a row.</param>
    [IntrinsicImplementation]
    public static void Scale(ref float factors) => throw ClVector.NotOpenCl();

    /// <summary>Writes the sums of some rows to shared memory, [row, column]: of each sub-group's fragments of rows one.</summary>
    [IntrinsicImplementation]
    public static void StoreFragment(int fragment, ref float target) => throw ClVector.NotOpenCl();

    /// <summary>Writes all sums to shared memory, rows at the tile's pitch.</summary>
    [IntrinsicImplementation]
    public static void Store(ref float target) => throw ClVector.NotOpenCl();
}

/// <summary>Writes a unit's text where a kernel calls <see cref="ClMatrix{TUnit}"/>.</summary>
internal static class ClMatrixCode<TUnit> where TUnit : struct, IMatrixUnit
{
    /// <summary>Must run for every context in which kernels with this unit are compiled.</summary>
    public static void Register(Context.Builder builder) => ClVectorCode.Register(builder, typeof(ClMatrix<TUnit>), typeof(ClMatrixCode<TUnit>));

    public static void Declare(CLBackend backend, CLCodeGenerator generator, Value value)
    {
        var unit = default(TUnit);
        generator.Builder.Append(OpenClSource.BeforeKernel(
            unit.Text, $"{unit.Attributes} __attribute__((reqd_work_group_size({ClBlock.Text(generator, value[0])}, 1, 1)))"));
        generator.Builder.Append(unit.Locals);
    }
}

/// <summary>Writes <see cref="ClMatrixText{TUnit, TTile}"/> where a kernel calls <see cref="ClMatrix{TUnit, TTile}"/>.</summary>
internal static class ClMatrixCode<TUnit, TTile>
    where TUnit : struct, IMatrixUnit
    where TTile : struct, IMatrixTile
{
    /// <summary>Must run for every context in which kernels with this unit and this tile are compiled.</summary>
    public static void Register(Context.Builder builder) =>
        ClVectorCode.Register(builder, typeof(ClMatrix<TUnit, TTile>), typeof(ClMatrixCode<TUnit, TTile>));

    public static void Begin(CLBackend backend, CLCodeGenerator generator, Value value) =>
        generator.Builder.Append(ClMatrixText<TUnit, TTile>.Begin);

    public static void MultiplyAdd(CLBackend backend, CLCodeGenerator generator, Value value) =>
        ClBlock.Write(generator, value, "const __local int* rows, const __local int* columns", ClMatrixText<TUnit, TTile>.MultiplyAdd);

    public static void Scale(CLBackend backend, CLCodeGenerator generator, Value value) =>
        ClBlock.Write(generator, value, "const __local float* factors", ClMatrixText<TUnit, TTile>.Scale);

    public static void StoreFragment(CLBackend backend, CLCodeGenerator generator, Value value) =>
        ClBlock.Write(generator, value, "int fragment, __local float* target", ClMatrixText<TUnit, TTile>.StoreFragment);

    public static void Store(CLBackend backend, CLCodeGenerator generator, Value value) =>
        ClBlock.Write(generator, value, "__local float* target", ClMatrixText<TUnit, TTile>.Store);
}
