using System.Buffers.Binary;
using System.IO.Compression;
using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using ILGPU;
using ILGPU.Backends;
using ILGPU.Backends.EntryPoints;
using ILGPU.Backends.OpenCL;
using ILGPU.Backends.PTX;
using ILGPU.IR.Types;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using ILGPU.Runtime.OpenCL;

namespace StableDiffusion.Ilgpu.Kernels;

/// <summary>
/// What ILGPU made of kernels for a device, kept in files, one a kernel: a process that finds them need not compile. A file is found by everything
/// that its text depends on: this library's and ILGPU's builds, the device and what it can do, the kernel, how it is specialised. Whatever goes
/// wrong, the kernel is compiled as without a cache. A kernel is a program: those that another user
/// may have put there are not taken, but by root, who may read all.
/// </summary>
/// <param name="folder">Made when the first kernel is kept.</param>
internal sealed class KernelCache(string folder)
{
    /// <summary>Builds of the library whose kernels are kept, those that something was written for last.</summary>
    internal const int MostBuilds = 4;

    private const int HashLength = 32;

    /// <summary>Fields that ILGPU's OpenCL kernels pass a view in.</summary>
    private const int FieldsOfView = 2;

    private static readonly ConstructorInfo? MakePtx = typeof(PTXCompiledKernel).GetConstructor(
        BindingFlags.Instance | BindingFlags.NonPublic, [typeof(Context), typeof(EntryPoint), typeof(CompiledKernel.KernelInfo), typeof(string)]);

    private static readonly PropertyInfo? Types = typeof(Context).GetProperty("TypeContext", BindingFlags.Instance | BindingFlags.NonPublic);

    private static readonly PropertyInfo? EntryPointOf = typeof(CompiledKernel).GetProperty("EntryPoint", BindingFlags.Instance | BindingFlags.NonPublic);

    private const UnixFileMode OnlyMine = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    /// <summary>The folder of this build's kernels for this user. The processor, which compiles none, never asks for it.</summary>
    internal string Build => field ??= Path.Combine(
        folder, Hash($"{typeof(KernelCache).Module.ModuleVersionId} {typeof(Context).Module.ModuleVersionId} {Environment.UserName}"));

    /// <summary>Whether this version of ILGPU lets kernels be put together again.</summary>
    public static bool IsAvailable => MakePtx is not null && Types is not null && EntryPointOf is not null;

    /// <returns>Null where it is not there.</returns>
    public CompiledKernel? Find(Accelerator accelerator, EntryPointDescription entry, in KernelSpecialization specialization)
    {
        if (!IsAvailable || Read(FileOf(accelerator, entry, specialization)) is not var (text, shared))
        {
            return null;
        }

        var context = accelerator.Context;
        return accelerator switch
        {
            CudaAccelerator => (CompiledKernel)MakePtx!.Invoke([context, new EntryPoint(entry, shared, specialization), null, text]),
            CLAccelerator openCl => new CLCompiledKernel(
                context, new SeparateViewEntryPoint(entry, shared, specialization, (TypeInformationManager)Types!.GetValue(context)!, FieldsOfView),
                info: null, text, openCl.Backend.CLStdVersion),
            _ => null,
        };
    }

    /// <summary>Keeps a kernel as ILGPU made it.</summary>
    public void Keep(Accelerator accelerator, EntryPointDescription entry, in KernelSpecialization specialization, CompiledKernel kernel)
    {
        var text = (kernel as PTXCompiledKernel)?.PTXAssembly ?? (kernel as CLCompiledKernel)?.Source;
        if (IsAvailable && text is not null && EntryPointOf!.GetValue(kernel) is EntryPoint { HasSpecializedParameters: false } point)
        {
            Write(FileOf(accelerator, entry, specialization), text, point.SharedMemory);
        }
    }

    /// <summary>
    /// Whether kernels in a folder are this user's: it is closed to others, or can be closed, which the system lets nobody do but its owner (and root). What
    /// is closed already may lie on a file system that cannot be written.
    /// </summary>
    internal static bool IsMine(string folder)
    {
        if (OperatingSystem.IsWindows())
        {
            return true;
        }

        try
        {
            // A link could stand for any folder of this user's.
            if (new DirectoryInfo(folder).LinkTarget is not null)
            {
                return false;
            }

            if (File.GetUnixFileMode(folder) != OnlyMine)
            {
                File.SetUnixFileMode(folder, OnlyMine);
            }

            return true;
        }
        catch (Exception e) when (IsExpected(e))
        {
            return false;
        }
    }

    private static string Hash(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..HashLength];

    private static string DeviceKey(Accelerator accelerator) => accelerator switch
    {
        CudaAccelerator cuda => $"{cuda.Architecture} {cuda.InstructionSet} {Able(cuda.Capabilities)}",
        CLAccelerator openCl => $"{openCl.PlatformName} {openCl.VendorName} {openCl.Name} {openCl.DeviceType} {openCl.CVersion} {openCl.CLStdVersion} {Able(openCl.Capabilities)}",
        _ => accelerator.Name,
    } + $" {accelerator.AcceleratorType} {accelerator.WarpSize}";

    private static string Able(CapabilityContext capabilities) => string.Join(
        ' ', capabilities.GetType().GetProperties().Where(p => p.PropertyType == typeof(bool)).OrderBy(p => p.Name, StringComparer.Ordinal).Select(p => $"{p.Name}={p.GetValue(capabilities)}"));

    private string FileOf(Accelerator accelerator, EntryPointDescription entry, in KernelSpecialization specialization)
    {
        var method = entry.MethodSource;
        return Path.Combine(Build, Hash(string.Join('|',
            DeviceKey(accelerator), method.DeclaringType!.AssemblyQualifiedName, method.ToString(), specialization.MaxNumThreadsPerGroup, specialization.MinNumGroupsPerMultiprocessor)));
    }

    /// <summary>A hash of all that follows, the bytes of static shared memory, whether there is dynamic one, and the text.</summary>
    private static (string Text, SharedMemorySpecification Shared)? Read(string file)
    {
        try
        {
            if (!File.Exists(file) || !IsMine(Path.GetDirectoryName(file)!))
            {
                return null;
            }

            using var unpacked = new MemoryStream();
            using (var packed = new BrotliStream(File.OpenRead(file), CompressionMode.Decompress))
            {
                packed.CopyTo(unpacked);
            }

            var bytes = unpacked.ToArray();
            var content = bytes.AsSpan(SHA256.HashSizeInBytes);
            return !bytes.AsSpan().StartsWith(SHA256.HashData(content)) ? null : (
                Encoding.UTF8.GetString(content[5..]), new SharedMemorySpecification(BinaryPrimitives.ReadInt32LittleEndian(content), content[4] != 0));
        }
        catch (Exception e) when (IsExpected(e))
        {
            return null;
        }
    }

    private void Write(string file, string text, SharedMemorySpecification shared)
    {
        var content = new byte[5 + Encoding.UTF8.GetByteCount(text)];
        BinaryPrimitives.WriteInt32LittleEndian(content, shared.StaticSize);
        content[4] = shared.HasDynamicMemory ? (byte)1 : (byte)0;
        Encoding.UTF8.GetBytes(text, content.AsSpan(5));
        var part = $"{file}.{Guid.NewGuid():N}";
        try
        {
            var isFirst = !Directory.Exists(Build);
            Directory.CreateDirectory(folder);
            if (OperatingSystem.IsWindows())
            {
                Directory.CreateDirectory(Build);
            }
            else
            {
                Directory.CreateDirectory(Build, OnlyMine);
            }

            if (!IsMine(Build))
            {
                return;
            }

            using (var packed = new BrotliStream(File.Create(part), CompressionLevel.Fastest))
            {
                packed.Write(SHA256.HashData(content));
                packed.Write(content);
            }

            // Another process finds all of it or nothing.
            File.Move(part, file, overwrite: true);
            if (isFirst)
            {
                ForgetOldBuilds();
            }
        }
        catch (Exception e) when (IsExpected(e))
        {
            TryDelete(part);
        }
    }

    /// <summary>
    /// The folder is the user's: nothing is deleted but files with names of ours in folders with names of ours. Those of kernels that a process was writing when it
    /// was killed are of two parts.
    /// </summary>
    private void ForgetOldBuilds()
    {
        var builds = new DirectoryInfo(folder).GetDirectories().Where(d => IsHash(d.Name));
        foreach (var old in builds.OrderByDescending(d => d.LastWriteTimeUtc).Skip(MostBuilds))
        {
            try
            {
                foreach (var file in old.GetFiles().Where(f => f.Name.Split('.').All(IsHash)))
                {
                    file.Delete();
                }

                if (!old.EnumerateFileSystemInfos().Any())
                {
                    old.Delete();
                }
            }
            catch (UnauthorizedAccessException)
            {
                // Another user's.
            }
        }
    }

    private static bool IsHash(string name) => name.Length == HashLength && name.All(char.IsAsciiHexDigitLower);

    private static void TryDelete(string file)
    {
        try
        {
            File.Delete(file);
        }
        catch (Exception e) when (IsExpected(e))
        {
            // Nothing is lost but its space.
        }
    }

    /// <summary>A full or read-only disk, a damaged file, no rights.</summary>
    private static bool IsExpected(Exception e) => e is IOException or UnauthorizedAccessException or InvalidDataException or InvalidOperationException or ArgumentException or NotSupportedException;
}
