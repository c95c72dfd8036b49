using System.Text.RegularExpressions;
using ILGPU.Runtime.Cuda;
using StableDiffusion.Ilgpu.Benchmarks.Ptx;

namespace StableDiffusion.Ilgpu.Tests.Ptx.Driver;

/// <summary>A kernel of a module that a driver has loaded.</summary>
internal sealed partial class DriverFunction
{
    private readonly InterpretedDriver driver;
    private int dynamicSharedLimit;

    /// <exception cref="DriverError">The device cannot run it.</exception>
    public DriverFunction(InterpretedDriver driver, string ptx)
    {
        this.driver = driver;
        var target = Target().Match(ptx);
        var (number, specific) = (int.Parse(target.Groups["number"].Value), target.Groups["specific"].Length > 0);
        if (specific ? number != driver.Architecture : number > driver.Architecture)
        {
            throw new DriverError(DriverStatus.NoBinaryForDevice, $"PTX for {target.Value.Trim()} on sm_{driver.Architecture}");
        }

        if (PtxKernel.TooNew(new CudaArchitecture(number / 10, number % 10), ptx) is { } newer)
        {
            throw new DriverError(DriverStatus.InvalidPtx, $"{newer} in PTX for {target.Value.Trim()}");
        }

        if (driver.Refused is { } refused && ptx.Contains(refused, StringComparison.Ordinal))
        {
            throw new DriverError(DriverStatus.InvalidPtx, $"{refused} is refused");
        }

        try
        {
            Program = PtxProgram.Parse(ptx);
        }
        catch (PtxException e)
        {
            throw new DriverError(DriverStatus.InvalidPtx, e.Message);
        }

        dynamicSharedLimit = PtxLaunch.OrdinarySharedBytes - Program.DynamicSharedOffset;
        IsSpoiled = driver.Spoiled is { } spoiled && ptx.Contains(spoiled, StringComparison.Ordinal);
    }

    public PtxProgram Program { get; }

    /// <summary>Whether it does nothing.</summary>
    public bool IsSpoiled { get; }

    /// <summary>Drivers load a kernel when it is first launched, if not before.</summary>
    public bool IsLoaded { get; set; }

    /// <summary>Allows blocks so much dynamic shared memory (CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES).</summary>
    public void AllowShared(int bytes) => dynamicSharedLimit = Program.DynamicSharedOffset + bytes <= driver.SharedBytes ? bytes
        : throw new DriverError(DriverStatus.InvalidValue, $"{Program.Name}: {bytes} bytes of shared memory, of {driver.SharedBytes}");

    public PtxLaunch Launch((int X, int Y, int Z) grid, (int X, int Y, int Z) group, int dynamicShared, byte[] parameters)
    {
        if (dynamicShared > dynamicSharedLimit || Math.Min(Math.Min(grid.X, grid.Y), grid.Z) < 1 || grid.Y > 65535 || grid.Z > 65535)
        {
            throw new DriverError(
                DriverStatus.InvalidValue, $"{Program.Name}: {grid} blocks with {dynamicShared} bytes of dynamic shared memory, {dynamicSharedLimit} allowed");
        }

        return new PtxLaunch
        {
            Program = Program,
            Grid = grid,
            Group = group,
            DynamicSharedBytes = dynamicShared,
            Parameters = parameters,
            Global = driver.Memory.Visible,
            Landing = CopyLanding.Late,
        };
    }

    [GeneratedRegex(@"^\s*\.target\s+sm_(?<number>\d+)(?<specific>[af]?)", RegexOptions.Multiline)]
    private static partial Regex Target();
}
