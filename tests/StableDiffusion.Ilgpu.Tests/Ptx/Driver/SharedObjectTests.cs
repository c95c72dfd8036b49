using System.Runtime.InteropServices;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.Ptx.Driver;

/// <summary>Libraries whose functions are managed code.</summary>
public sealed unsafe class SharedObjectTests
{
    private const string Name = "libsdilgpu-test.so.1";

    [Fact]
    public void Functions_are_called_by_name_and_the_library_by_its_own()
    {
        Assert.SkipUnless(InterpretedDriver.CanInstall, InterpretedDriver.CannotInstall);
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder["any name"], SharedObject.Create(Name, ["twice", "sum"]));
        Assert.False(NativeLibrary.TryLoad(Name, out _));
        var library = NativeLibrary.Load(folder["any name"]);
        try
        {
            var table = (nint*)NativeLibrary.GetExport(library, SharedObject.Table);
            table[0] = (nint)(delegate* unmanaged<int, int>)&Twice;
            table[1] = (nint)(delegate* unmanaged<double, long, int, int, int, int, int, long, double>)&Sum;
            Assert.True(NativeLibrary.TryLoad(Name, out var byName));
            Assert.Equal(42, ((delegate* unmanaged<int, int>)NativeLibrary.GetExport(byName, "twice"))(21));

            // More arguments than registers.
            var sum = (delegate* unmanaged<double, long, int, int, int, int, int, long, double>)NativeLibrary.GetExport(byName, "sum");
            Assert.Equal(0.5 + (1L << 40) + 15 + (1L << 41), sum(0.5, 1L << 40, 1, 2, 3, 4, 5, 1L << 41));
            Assert.False(NativeLibrary.TryGetExport(byName, "half", out _));
            NativeLibrary.Free(byName);
        }
        finally
        {
            NativeLibrary.Free(library);
        }
    }

    [UnmanagedCallersOnly]
    private static int Twice(int value) => 2 * value;

    [UnmanagedCallersOnly]
    private static double Sum(double a, long b, int c, int d, int e, int f, int g, long h) => a + b + c + d + e + f + g + h;
}
